// Package credential keeps the agent's token for kcp fresh: it asks kcp for a new one
// when half of the old one's life is over, keeps it in the Secret that the agent starts
// from, notices when kcp refuses it, and then takes up another as soon as somebody has
// stored one.
//
// It knows nothing of what the token is used for.
package credential
