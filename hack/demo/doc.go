// Command demo shows tmc at work: it starts a kcp and two clusters on this machine, with tmc's own programs, and
// leads through the life of a Deployment, each step with the command that a user types, what kcp and the
// clusters say then, and a check that it is what it should be. It can also leave all of it running for a
// person to try things on.
//
// The stack is that of package e2e/framework; what is here are the steps, the checks and the words. It does
// nothing that a user with kubectl could not do.
package main
