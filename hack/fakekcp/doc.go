// Package fakekcp is a kcp in memory, as far as a program of tmc asks it: a provider workspace, and one virtual workspace that shows
// the objects of all consumers. It speaks discovery, get, list, watch (one that begins with what there is, too), create, merge and
// JSON patches, and delete. It checks nothing: no schemas, no rights, no policies. A write takes it microseconds where kcp takes 40
// ms of CPU, so that what is measured against it is the program's own.
package fakekcp
