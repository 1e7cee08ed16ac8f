// Package credential keeps the agent's token for kcp valid. When half of the token's life is
// over, it asks kcp for a new one, and stores that in the Secret that the agent starts from.
// When kcp refuses the token, it takes up another one as soon as somebody has stored one.
//
// It knows nothing of what the token is used for.
package credential
