// Package fakekcp is a kcp in memory, as far as a program of tmc asks it: a provider workspace, and one virtual workspace that shows
// the objects of all consumers. It speaks discovery, get, list, watch (one that begins with what there is, too), create, update, merge
// and JSON patches, and delete. It checks nothing but preconditions: no schemas, no rights, no policies; events of tmc it throws away.
// It keeps each object as its JSON, and a write takes it microseconds where kcp takes 40 ms of CPU. So what is measured against it is
// the program's own, its clients and their decoding among it.
package fakekcp
