package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// stream is an open watch.
type stream struct {
	*exchange

	wake chan struct{}

	mu sync.Mutex
	// frames are events that have come from the server and have not been passed on.
	frames []frame
	// isOver is set when the server has ended the watch, and isBroken when that was no orderly end.
	isOver, isBroken bool
	// isEnded is set when the watch is to end here, with the answer as its last event, or abruptly without one.
	isEnded bool
	answer  *Answer
}

// frame is a line of a watch, and when it may be passed on.
type frame struct {
	line []byte
	due  time.Time
}

// stream passes on a watch until either side ends it.
func (e *exchange) stream(ctx context.Context, body io.Reader) {
	s := &stream{exchange: e, wake: make(chan struct{}, 1)}
	e.link.mu.Lock()
	e.link.streams[s] = true
	e.link.mu.Unlock()
	defer func() {
		e.link.mu.Lock()
		delete(e.link.streams, s)
		e.link.mu.Unlock()
	}()
	e.flush()
	go s.read(body) // it ends with the body, which is closed after the watch
	for s.next(ctx) {
	}
}

// read takes what the server says, also while nothing may be passed on: it would close a watch that nobody reads.
func (s *stream) read(body io.Reader) {
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		s.mu.Lock()
		if len(line) > 0 && err == nil {
			s.frames = append(s.frames, frame{line: s.editEvent(line), due: time.Now().Add(s.link.delayOf(s.request))})
		}
		if err != nil {
			s.isOver, s.isBroken = true, !errors.Is(err, io.EOF)
		}
		s.mu.Unlock()
		s.wakeUp()
		if err != nil {
			return
		}
	}
}

// editEvent applies what is to be different to the object of an event. It keeps the end of the line.
func (s *stream) editEvent(line []byte) []byte {
	edited := s.editObject(line, func(event map[string]any) map[string]any {
		object, _ := event["object"].(map[string]any)
		return object
	})
	return append(bytes.TrimSuffix(edited, []byte("\n")), '\n')
}

// next takes one step, and reports whether there is another.
func (s *stream) next(ctx context.Context) bool {
	line, wait, isOver := s.step(ctx, s.link.isMute(s.request))
	switch {
	case isOver:
		return false
	case line != nil:
		_, err := s.writer.Write(line)
		s.flush()
		return err == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.wake:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// idle is how long a stream waits that nothing is known of; it is woken when there is.
const idle = time.Hour

// step returns the next line that is to be passed on, or how long to wait for it, or that the watch is over.
func (s *stream) step(ctx context.Context, isMute bool) (line []byte, wait time.Duration, isOver bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.isEnded:
		s.finish(ctx)
		return nil, 0, true
	case isMute:
		return nil, idle, false
	case len(s.frames) > 0:
		next := s.frames[0]
		if wait := time.Until(next.due); wait > 0 {
			return nil, wait, false
		}
		s.frames = s.frames[1:]
		return next.line, 0, false
	case s.isBroken:
		s.fail(ctx)
	}
	return nil, idle, s.isOver
}

// finish ends the watch as end has said.
func (s *stream) finish(ctx context.Context) {
	if s.answer == nil {
		s.fail(ctx)
	}
	_, _ = s.writer.Write(s.answer.event())
}

// end has the watch end, with the answer as its last event, or abruptly where that is nil.
func (s *stream) end(answer *Answer) {
	s.mu.Lock()
	s.isEnded, s.answer = true, answer
	s.mu.Unlock()
	s.wakeUp()
}

func (s *stream) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}
