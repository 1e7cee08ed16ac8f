package aggregate

// Times in the statuses of CronJobs and HorizontalPodAutoscalers, RFC 3339 in UTC:
// they sort as they are.
const (
	lastScheduleTime   = "lastScheduleTime"
	lastSuccessfulTime = "lastSuccessfulTime"
	lastScaleTime      = "lastScaleTime"
)

// latest says of each of the times when it was last so anywhere.
func latest(times ...string) func(*merge) {
	return func(m *merge) {
		for _, time := range times {
			last := ""
			for _, o := range m.shown {
				last = max(last, o.report.Texts[time])
			}
			if last != "" {
				m.status[time] = last
			}
		}
	}
}
