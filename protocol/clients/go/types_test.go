package sidecar

import (
	"encoding/json"
	"testing"
)

func TestWhatIsReadIsWrittenAgain(t *testing.T) {
	for name, text := range map[string]string{
		"a text":            `{"role":"user","content":"Hello"}`,
		"parts":             `{"role":"assistant","content":[{"type":"text","text":"Hi"},{"type":"novel","x":[1]}]}`,
		"an unknown word":   `{"role":"novel","content":""}`,
		"an unknown member": `{"role":"user","content":{"novel":null}}`,
	} {
		var message Message
		if err := json.Unmarshal([]byte(text), &message); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again, err := json.Marshal(message); err != nil || string(again) != text {
			t.Errorf("%s: %s became %s (%v)", name, text, again, err)
		}
	}
}

func TestATagSaysWhichMemberAUnionHas(t *testing.T) {
	var known, unknown Chunk
	_ = json.Unmarshal([]byte(`{"type":"content","content":"Hello","novel":1}`), &known)
	if content, ok := known.Value.(*Content); !ok || content.Content != "Hello" {
		t.Errorf("%#v is no content", known.Value)
	}
	_ = json.Unmarshal([]byte(`{"type":"novel"}`), &unknown)
	if json, ok := unknown.Value.(Unknown); !ok || string(json) != `{"type":"novel"}` {
		t.Errorf("%#v is not kept", unknown.Value)
	}
}

func TestZeroIsSentAndWhatIsAbsentIsNot(t *testing.T) {
	zero := 0.0
	stop := &OptionsStop{Value: []string{"x"}}
	text, err := json.Marshal(Chat{Model: "a/b", Options: &Options{Temperature: &zero, Stop: stop}})
	if want := `{"model":"a/b","options":{"temperature":0,"stop":["x"]}}`; err != nil || string(text) != want {
		t.Errorf("%s (%v), not %s", text, err, want)
	}
}
