// Command kubectl-tmc is the kubectl plugin of tmc. It turns flags into options, calls the package that does the work
// and prints the results; it decides nothing.
//
//	install.go     init installs the kcp side; bind makes a workspace a consumer.
//	join.go        join registers a cluster and prints the manifest of its syncer.
//	scheduling.go  cordon, uncordon and drain say what may come to a cluster and stay there.
//	remove.go      remove takes a cluster out of the registry; unjoin also deletes what join made.
//	get.go         get shows clusters, and which workload is on which cluster.
//	describe.go    describe explains where one object is and what is wrong with it.
//	render.go      render prints what a cluster is sent.
//	options.go     The flags that commands share; output.go prints for people and for programs.
//	registry.go    Reads the registry of clusters, and the objects of all workspaces.
package main
