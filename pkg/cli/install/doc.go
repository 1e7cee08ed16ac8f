// Package install writes to kcp what tmc needs there. Every function compares first: a run that finds everything in
// order writes nothing.
//
//	init.go        Init installs the provider workspace: schemas, APIExport, RBAC, policies, webhook.
//	bind.go        Bind makes a workspace a consumer.
//	join.go        Join registers a cluster and gives its syncer an account.
//	unjoin.go      Unjoin deletes what Join made.
//	account.go     The account of a syncer in kcp, and its permissions.
//	credential.go  What a syncer gets: URL, authorities, token; and the revocation of tokens.
//	view.go        The APIExport through which a cluster, or a group of clusters, sees its objects; the kinds of these.
//	fleet.go       Brings all views and accounts in line with the registrations, and deletes unused views.
//	tenants.go     Brings the bindings of workspaces of the type tmc-tenant in line with the views.
//	server.go      Requests to one kcp, their errors, and waiting.
//	apply.go       Compare and write one object; merge.go says what a live object should become.
//
// The package does not know flags, printing, what runs in a cluster, or syncing.
package install
