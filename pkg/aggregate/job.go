package aggregate

// Times in the status of a Job, RFC 3339 in UTC: they sort as they are.
const (
	startTime      = "startTime"
	completionTime = "completionTime"
)

// addJobTimes says when the Job began anywhere, and when it was complete
// everywhere.
func addJobTimes(m *merge) {
	var first, last string
	for _, o := range m.shown {
		if started := timeIn(o, startTime); started != "" && (first == "" || started < first) {
			first = started
		}
		last = max(last, timeIn(o, completionTime))
	}
	if first != "" {
		m.status[startTime] = first
	}
	isComplete := func(o observation) bool { return timeIn(o, completionTime) != "" }
	if last != "" && all(m.shown, isComplete) {
		m.status[completionTime] = last
	}
}
