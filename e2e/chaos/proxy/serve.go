package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// exchange is one request on its way.
type exchange struct {
	link    *Link
	request Request
	effect  effect
	writer  http.ResponseWriter
	conn    *heldConn
}

// serve handles a request of the program.
func (l *Link) serve(w http.ResponseWriter, r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(*heldConn)
	request := parse(r)
	e := &exchange{link: l, request: request, effect: l.effectOn(request), writer: w, conn: conn}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	if !sleep(r.Context(), e.effect.delay/2) {
		return
	}
	if e.effect.answer != nil {
		e.effect.answer.write(w)
		return
	}
	e.pass(r, body)
}

// pass has the server answer.
func (e *exchange) pass(r *http.Request, body []byte) {
	ctx := r.Context()
	if e.effect.after != AfterAnswer {
		ctx = context.WithoutCancel(ctx) // it is to be carried out, whatever the client does
	}
	response, err := e.link.transport.RoundTrip(e.outgoing(ctx, r, body))
	if err != nil {
		e.link.count(e.request, 0)
		e.fail(r.Context())
	}
	defer func() { _ = response.Body.Close() }()
	e.link.count(e.request, response.StatusCode)
	if e.request.Verb == "watch" && response.StatusCode == http.StatusOK {
		e.copyHeader(response)
		e.stream(r.Context(), response.Body)
		return
	}
	data, err := io.ReadAll(response.Body)
	if err != nil {
		e.fail(r.Context())
	}
	e.answer(r.Context(), response, e.edit(data))
}

// outgoing is the request as the server gets it.
func (e *exchange) outgoing(ctx context.Context, r *http.Request, body []byte) *http.Request {
	out := r.Clone(ctx)
	out.RequestURI, out.Host = "", e.link.target.Server.Host
	out.URL.Scheme, out.URL.Host = e.link.target.Server.Scheme, e.link.target.Server.Host
	out.URL.RawQuery = e.query(r.URL)
	out.Header.Del("Accept-Encoding")
	out.Header.Del("Connection")
	if accept := r.Header.Get("Accept"); accept != "" {
		out.Header.Set("Accept", onlyJSON(accept))
	}
	out.Body, out.ContentLength = http.NoBody, 0
	if len(body) > 0 {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	return out
}

// query makes pages smaller, where the client allows for pages.
func (e *exchange) query(from *url.URL) string {
	if e.effect.pageSize == 0 || e.request.Verb != "list" || e.request.Query.Get("limit") == "" {
		return from.RawQuery
	}
	query := from.Query()
	query.Set("limit", strconv.FormatInt(e.effect.pageSize, 10))
	return query.Encode()
}

// onlyJSON leaves of what a client accepts what is JSON.
func onlyJSON(accept string) string {
	var kept []string
	for part := range strings.SplitSeq(accept, ",") {
		if !strings.Contains(part, "protobuf") && !strings.Contains(part, "cbor") {
			kept = append(kept, strings.TrimSpace(part))
		}
	}
	if len(kept) == 0 {
		return "application/json"
	}
	return strings.Join(kept, ",")
}

// edit applies what is to be different in what the client reads.
func (e *exchange) edit(data []byte) []byte {
	return e.editObject(data, func(answer map[string]any) map[string]any { return answer })
}

// editObject applies what is to be different to the object in what the client reads, if there is one.
func (e *exchange) editObject(data []byte, objectOf func(read map[string]any) map[string]any) []byte {
	data = e.link.rewrite(e.request, data)
	if len(e.effect.edits) == 0 {
		return data
	}
	var read map[string]any
	if json.Unmarshal(data, &read) != nil {
		return data
	}
	object := objectOf(read)
	if object == nil {
		return data
	}
	for _, edit := range e.effect.edits {
		edit(object)
	}
	edited, err := json.Marshal(read)
	if err != nil {
		return data
	}
	return edited
}

// copyHeader passes on the header of an answer, without its length.
func (e *exchange) copyHeader(response *http.Response) {
	for key, values := range response.Header {
		if key != "Content-Length" && key != "Connection" && key != "Transfer-Encoding" {
			e.writer.Header()[key] = values
		}
	}
	e.writer.WriteHeader(response.StatusCode)
}

// answer passes on an answer, or what is heard instead.
func (e *exchange) answer(ctx context.Context, response *http.Response, data []byte) {
	if !sleep(ctx, e.effect.delay/2) {
		return
	}
	switch e.effect.after {
	case AfterTimeout:
		Fails(http.StatusGatewayTimeout).write(e.writer)
		return
	case AfterReset:
		e.fail(ctx)
	case AfterNothing:
		select {
		case <-ctx.Done():
		case <-e.effect.over:
		}
		e.fail(ctx)
	case AfterAnswer:
	}
	if e.effect.cut > 0 {
		// The client has been told of more than comes.
		e.writer.Header().Set("Content-Length", strconv.Itoa(len(data)))
		data = data[:int(float64(len(data))*e.effect.cut)]
	}
	e.copyHeader(response)
	_, _ = e.writer.Write(data)
	if e.effect.cut > 0 {
		e.flush()
		e.fail(ctx)
	}
}

func (e *exchange) flush() { _ = http.NewResponseController(e.writer).Flush() }

// fail ends the connection to the client, as the server's end or the network's would, unless the client has given up itself.
// It does not return.
func (e *exchange) fail(ctx context.Context) {
	if e.conn != nil && ctx.Err() == nil {
		e.conn.reset()
	}
	panic(http.ErrAbortHandler)
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
