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
	}
}
