// Package measure has what the measurements of tmc share: what the audit logs of kcp and the clusters say about the
// requests of tmc's programs, what processes take of the machine, since when objects are as they should be, and the
// figures that come of it. It knows nothing of what is measured.
package measure
