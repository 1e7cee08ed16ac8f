package controller

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/go-logr/logr/funcr"
	"k8s.io/klog/v2"
)

func TestOutageIsLoggedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		ctx := klog.NewContext(t.Context(), funcr.New(func(_, args string) { said = append(said, args) }, funcr.Options{}))
		s := &Outage{Begins: "It rains", Ends: "It is dry"}
		s.End(ctx) // which has not begun
		for _, reason := range []string{"a cloud", "another cloud"} {
			s.Begin(ctx, errors.New(reason))
			time.Sleep(time.Second)
		}
		s.End(ctx)
		s.End(ctx)
		want := []string{`"msg"="It rains" "error"="a cloud"`, `"level"=0 "msg"="It is dry" "after"="2s"`}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("what was said (-want +got):\n%s", diff)
		}
		s.Begin(ctx, errors.New("yet another"))
		if len(said) != 3 {
			t.Errorf("said %q, want another outage logged", said)
		}
	})
}
