package protect

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/kcp-dev/logicalcluster/v3"
)

// What is in this file has nothing placed through an APIBinding that can vanish. A workspace that is deleted right after something was
// placed in it would take the view of the syncer away that has to let go of that, and end never. So before the first object comes to a
// cluster, its binding is kept: that is the same write as it was after. And a binding that goes is kept for as long as a write that places
// something may be on its way.

const (
	// patience is how long an object waits for all the bindings that it needs, so that it is written once. Then it goes where it can.
	patience = 30 * time.Second
	// onItsWay is how long a binding counts as used after something was placed through it: the caches show it by then.
	onItsWay = 5 * time.Second
)

// kept says which bindings are kept already.
type kept interface {
	// IsKept reports whether a workspace's binding of an APIExport is kept, or cannot be, and so need not be.
	IsKept(workspace logicalcluster.Name, export string) bool
}

// placing is what is being placed through one binding.
type placing struct {
	// writes are those on their way, last is when the last one ended.
	writes int
	last   time.Time
}

// Keep returns those of the APIExports of which the workspace's bindings are kept. It has the others kept: an event of them tells when
// they are. isSoon is set when it is worth waiting for that.
func (p *Protector) Keep(workspace logicalcluster.Name, exports []string) (areKept sets.Set[string], isSoon bool) {
	areKept = sets.New[string]()
	for _, export := range exports {
		if p.kept.IsKept(workspace, export) {
			areKept.Insert(export)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, isNew := p.remember(workspace).wanted, false
	for _, export := range exports {
		since, isWanted := wanted[export]
		switch {
		case areKept.Has(export):
			delete(wanted, export)
			continue
		case !isWanted:
			since, isNew = p.now(), true
			wanted[export] = since
		}
		isSoon = isSoon || p.now().Sub(since) < patience
	}
	if isNew {
		p.loop.Enqueue(workspace)
	}
	return areKept, isSoon
}

// Place notes that something is about to be placed through bindings, until done is called. It reports whether it may: false when one of
// them is not kept any more. Then done need not be called.
func (p *Protector) Place(workspace logicalcluster.Name, exports []string) (done func(), may bool) {
	through := p.begin(workspace, exports)
	done = func() { p.end(through) }
	// It is asked again now that it is noted: whoever lets a binding go looks for the note after the binding is seen to go.
	if slices.ContainsFunc(exports, func(export string) bool { return !p.kept.IsKept(workspace, export) }) {
		done()
		return nil, false
	}
	return done, true
}

// begin notes a write that places something through bindings, and returns where that is noted.
func (p *Protector) begin(workspace logicalcluster.Name, exports []string) []*placing {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, through := p.remember(workspace), make([]*placing, len(exports))
	for i, export := range exports {
		if r.placing[export] == nil {
			r.placing[export] = &placing{}
		}
		through[i] = r.placing[export]
		through[i].writes++
	}
	return through
}

// end notes that such a write has ended.
func (p *Protector) end(through []*placing) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range through {
		one.writes--
		one.last = p.now()
	}
}

// wantedIn returns the APIExports of which bindings are to be kept for what is about to be placed, and those through which something may be
// on its way.
func (p *Protector) wantedIn(workspace logicalcluster.Name) (wanted, underWay sets.Set[string]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted, underWay = sets.New[string](), sets.New[string]()
	r := p.workspaces[workspace]
	if r == nil {
		return wanted, underWay
	}
	for export, now := range r.placing {
		if now.writes > 0 || p.now().Sub(now.last) < onItsWay {
			underWay.Insert(export)
			continue
		}
		delete(r.placing, export)
	}
	return sets.KeySet(r.wanted), underWay
}
