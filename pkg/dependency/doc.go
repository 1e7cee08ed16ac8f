// Package dependency reads from objects what belongs together: which objects one
// needs on its cluster before it (its references), and which ones go where another
// one goes (its followers). Both lie in the namespace of the object at hand.
//
// It is pure: objects in, names and answers out. It knows no client, no logger, no
// context and no clock, and nothing of clusters or placement. What it reads was
// written by users: of an object that is not as its kind should be it takes what can
// be read, and never fails.
//
// It does not read where a claim's data comes from (dataSource), nor what dynamic
// resource allocation asks for (resourceClaims).
package dependency
