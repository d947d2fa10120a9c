package fleet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

// A browser is a headless Chromium, driven by ChromeDriver: W3C WebDriver.
type browser struct {
	t    testing.TB
	base string // of the session
}

var driverPort = regexp.MustCompile(`started successfully on port (\d+)`)

// newBrowser starts a browser with a window of a phone's size. It ends with
// the test.
func newBrowser(t testing.TB) *browser {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	driver := exec.CommandContext(ctx, "chromedriver", "--port=0")
	out, err := driver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = driver.Wait() // it was killed
	})
	port := ""
	for lines := bufio.NewScanner(out); port == "" && lines.Scan(); {
		if m := driverPort.FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
	}
	b := &browser{t: t, base: "http://127.0.0.1:" + port}
	var session struct {
		ID string `json:"sessionId"`
	}
	args := []string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir(),
	}
	phone := map[string]any{"deviceMetrics": map[string]any{"width": 390, "height": 844, "pixelRatio": 2, "mobile": true, "touch": true}}
	b.call("POST", "/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName": "chrome", "goog:chromeOptions": map[string]any{"args": args, "mobileEmulation": phone},
		"goog:loggingPrefs": map[string]string{"browser": "ALL"},
	}}}, &session)
	b.base += "/session/" + session.ID
	t.Cleanup(func() { b.call("DELETE", "", nil, nil) })
	return b
}

// call sends a command and reads its value into v.
func (b *browser) call(method, path string, body, v any) {
	b.t.Helper()
	text := []byte{}
	if body != nil {
		text = []byte(mustJSON(body))
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, b.base+path, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	var value struct{ Value json.RawMessage }
	if err := json.NewDecoder(answer.Body).Decode(&value); err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		b.t.Fatalf("WebDriver %s %s answers %d: %.500s", method, path, answer.StatusCode, value.Value)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(value.Value, v); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("POST", "/url", map[string]string{"url": url}, nil)
}

// element returns the path of the element that a CSS selector finds, as soon
// as it is there.
func (b *browser) element(selector string) string {
	b.t.Helper()
	b.until(fmt.Sprintf("return document.querySelector(%q) !== null", selector))
	var found map[string]string
	b.call("POST", "/element", map[string]string{"using": "css selector", "value": selector}, &found)
	for _, id := range found {
		return "/element/" + id
	}
	b.t.Fatalf("no element %s", selector)
	return ""
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/click", map[string]any{}, nil)
}

func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/value", map[string]string{"text": text}, nil)
}

// run runs a script and reads what it returns into v.
func (b *browser) run(script string, v any) {
	b.t.Helper()
	b.call("POST", "/execute/sync", map[string]any{"script": script, "args": []any{}}, v)
}

// until waits until a script returns true.
func (b *browser) until(script string) {
	b.t.Helper()
	wait := "const done = arguments[0]; const f = () => { " + script + " }; const look = () => f() ? done(true) : setTimeout(look, 50); look();"
	b.call("POST", "/timeouts", map[string]int{"script": 30000}, nil)
	b.call("POST", "/execute/async", map[string]any{"script": wait, "args": []any{}}, nil)
}

// picture saves what the window shows in the folder SLIPCAST_PICTURES, if
// there is one.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SLIPCAST_PICTURES")
	if dir == "" {
		return
	}
	var text string
	b.call("GET", "/screenshot", nil, &text)
	p, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", p, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// complaints returns what the browser has to say about the page.
func (b *browser) complaints() []string {
	b.t.Helper()
	var log []struct{ Level, Message string }
	b.call("POST", "/se/log", map[string]string{"type": "browser"}, &log)
	var list []string
	for _, l := range log {
		if l.Level == "SEVERE" || l.Level == "WARNING" {
			list = append(list, l.Message)
		}
	}
	return list
}
