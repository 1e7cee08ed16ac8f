// Coverage reads the profile of `go test -coverprofile`, prints how many statements of each package its own tests
// cover, and with -gate fails where that is less than tmc asks for. Generated code (zz_generated) does not count.
package main
