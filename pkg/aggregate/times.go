package aggregate

import "time"

// Times in the statuses of CronJobs and HorizontalPodAutoscalers, RFC 3339 in UTC:
// they sort as they are.
const (
	lastScheduleTime   = "lastScheduleTime"
	lastSuccessfulTime = "lastSuccessfulTime"
	lastScaleTime      = "lastScaleTime"
)

// timeIn returns a time of a cluster's status, empty when it has none, or what is none: the
// merged status could not be written with that.
func timeIn(o observation, field string) string {
	text := o.report.Texts[field]
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return ""
	}
	return text
}

// latest says of each of the times when it was last so anywhere.
func latest(times ...string) func(*merge) {
	return func(m *merge) {
		for _, field := range times {
			last := ""
			for _, o := range m.shown {
				last = max(last, timeIn(o, field))
			}
			if last != "" {
				m.status[field] = last
			}
		}
	}
}
