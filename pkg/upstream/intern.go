package upstream

import (
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Bounds of what is shared: how many texts, and how long they are.
const (
	mostShared    = 1 << 14
	longestShared = 128
)

// texts are those that many objects have in common, each once: names of fields, labels and namespaces, words of statuses. What comes
// after the first mostShared is kept as it is.
var texts = struct {
	sync.RWMutex

	known map[string]any
}{known: map[string]any{}}

// Intern has an object that is about to be cached share the memory of its texts with others, in place: a decoder makes each anew, and
// half of what an object takes are words that all have.
func Intern(obj *unstructured.Unstructured) { internMap(obj.Object, 0) }

// deepest is how deep objects are looked into.
const deepest = 12

// isOwn holds the fields whose texts no two objects have in common, or few.
var isOwn = map[string]bool{"uid": true, "resourceVersion": true, "creationTimestamp": true, "name": true, "managedFields": true}

func internMap(content map[string]any, depth int) {
	for key, value := range content {
		shared, _ := share(key).(string)
		if !isOwn[key] {
			value = internValue(value, depth)
		}
		content[shared] = value // the key is there: its text is replaced
	}
}

func internValue(value any, depth int) any {
	switch typed := value.(type) {
	case string:
		return share(typed)
	case map[string]any:
		if depth < deepest {
			internMap(typed, depth+1)
		}
	case []any:
		for i, item := range typed {
			typed[i] = internValue(item, depth+1)
		}
	}
	return value
}

// share returns the text as others have it.
func share(text string) any {
	if len(text) > longestShared {
		return text
	}
	texts.RLock()
	shared, known := texts.known[text]
	isFull := len(texts.known) >= mostShared
	texts.RUnlock()
	switch {
	case known:
		return shared
	case isFull:
		return text
	}
	texts.Lock()
	defer texts.Unlock()
	if shared, known := texts.known[text]; known {
		return shared
	}
	var boxed any = text
	texts.known[text] = boxed
	return boxed
}
