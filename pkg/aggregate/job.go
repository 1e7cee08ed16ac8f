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
		if started := o.report.Texts[startTime]; started != "" && (first == "" || started < first) {
			first = started
		}
		last = max(last, o.report.Texts[completionTime])
	}
	if first != "" {
		m.status[startTime] = first
	}
	isComplete := func(o observation) bool { return o.report.Texts[completionTime] != "" }
	if last != "" && all(m.shown, isComplete) {
		m.status[completionTime] = last
	}
}
