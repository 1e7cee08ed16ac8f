package framework

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestRefuseWrites(t *testing.T) {
	var alarms []map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v3/maintenance/status":
			_, _ = w.Write([]byte(`{"header":{"member_id":"17"}}`))
		case "/v3/maintenance/alarm":
			alarm := map[string]any{}
			if err := json.NewDecoder(r.Body).Decode(&alarm); err != nil {
				t.Error(err)
			}
			alarms = append(alarms, alarm)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, refuse := range []bool{true, false} {
		if err := RefuseWrites(t.Context(), server.URL, refuse); err != nil {
			t.Fatal(err)
		}
	}
	for i, action := range []string{"ACTIVATE", "DEACTIVATE"} {
		if alarms[i]["action"] != action || alarms[i]["memberID"] != "17" || alarms[i]["alarm"] != "NOSPACE" {
			t.Errorf("alarm %d is %v", i, alarms[i])
		}
	}
	if err := RefuseWrites(t.Context(), server.URL+"/elsewhere", true); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v", err)
	}
}
