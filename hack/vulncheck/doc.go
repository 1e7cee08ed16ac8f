// Vulncheck asks govulncheck for known vulnerabilities that tmc's programs call. Where the
// database of those cannot be reached, it says so and is content; whatever else goes wrong
// is a failure, as is a vulnerability that is called.
package main
