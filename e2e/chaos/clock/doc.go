// Package clock lets the wall clock of a program jump, and leaves its monotonic clock alone, as when somebody sets the time
// of a machine. A program that imports it, which those of the chaos suite do by an overlay of the build, reads from the file
// that $TMC_CHAOS_CLOCK names by how much its clock is wrong, ten times a second.
//
// Go's runtime asks for the time through a pointer to a function of the kernel's (the vDSO). The package puts a function of
// its own there, which calls that one and adds the difference. So nothing but this package is compiled anew. It works on
// Linux on amd64, and does nothing elsewhere.
package clock
