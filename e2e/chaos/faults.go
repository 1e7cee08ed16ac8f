package chaos

// makers are all kinds of faults.
func makers() []maker {
	return []maker{
		{"kill", 4, drawKill},
		{"stop", 3, drawStop},
		{"partition", 3, drawPartition},
		{"server-kill", 2, drawServerKill},
		{"server-stop", 2, drawServerStop},
		{"clock", 2, drawClock},
		{"full", 2, drawFull},
		{"reset", 2, drawReset},
		{"cut", 2, drawCut},
		{"latency", 2, drawLatency},
		{"errors", 3, drawErrors},
		{"timeout", 3, drawTimeout},
		{"mute", 2, drawMute},
		{"gone", 2, drawGone},
		{"shard", 1, drawShard},
		{"starting", 2, drawStarting},
		{"token", 2, drawToken},
		{"meddle-below", 4, drawMeddleBelow},
		{"meddle-above", 3, drawMeddleAbove},
	}
}
