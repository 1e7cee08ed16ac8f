// Command benchcompare runs the benchmarks of the pure functions that every event passes through, and compares them with
// baseline.txt: allocations and bytes an operation, which are the same on every machine, and the time an operation takes as a multiple of that
// of a benchmark that never changes (BenchmarkCalibration), so that neither the machine nor who else uses it counts. It fails when
// something has become dearer than its tolerance allows, and says so when something has become cheaper: then --update writes a new
// baseline.
//
// The benchmarks are in hot_test.go. TestAllocations there compares allocations alone, in a moment, among the unit tests.
package main
