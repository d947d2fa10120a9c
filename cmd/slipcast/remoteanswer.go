package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// errRemoteRefused reports a web server that does not let us have a file.
var errRemoteRefused = errors.New("the server refuses it")

// check looks whether an answer brings n bytes from offset off of the very file
// that was opened. The first answer tells which one that is.
func (r *remoteFile) check(answer *http.Response, off int64, n int) error {
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return final("%w (%s)", errRemoteRefused, answer.Status)
	case code == http.StatusNotFound, code == http.StatusGone:
		return final("it is not there (%s)", answer.Status)
	case code == http.StatusOK && r.size >= 0 && answerName(answer) != r.same:
		return final("the image on the server has changed since it was opened")
	case code == http.StatusOK:
		return final("the server does not know ranges; fetch the image first, or pipe it into restore")
	case code == http.StatusRequestedRangeNotSatisfiable && r.size < 0:
		return final("it is empty")
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return fmt.Errorf("the server says %s", answer.Status)
	case code != http.StatusPartialContent:
		return final("the server says %s", answer.Status)
	}
	first, last, size, ok := parseContentRange(answer.Header.Get("Content-Range"))
	if !ok || first != off || last != off+int64(n)-1 {
		return final("the server answers with other bytes than were asked for (%q)", cutText(answer.Header.Get("Content-Range")))
	}
	if r.size < 0 {
		r.size, r.same = size, answerName(answer)
	}
	if size != r.size || answerName(answer) != r.same {
		return final("the image on the server has changed since it was opened")
	}
	return nil
}

// answerName returns what tells one state of a file from another: its ETag, or
// else its date.
func answerName(answer *http.Response) string {
	return cmp.Or(answer.Header.Get("ETag"), answer.Header.Get("Last-Modified"))
}

// cutText shortens text from a server for a message.
func cutText(text string) string { return text[:min(len(text), 80)] }

// parseContentRange reads "bytes 0-9/100", RFC 9110 section 14.4. Numbers are
// below 2^62, in order, and within the size.
func parseContentRange(text string) (first, last, size int64, ok bool) {
	rest, ok := strings.CutPrefix(text, "bytes ")
	if !ok {
		return 0, 0, 0, false
	}
	span, total, found := strings.Cut(rest, "/")
	from, to, both := strings.Cut(span, "-")
	first, ok1 := parseDigits(from)
	last, ok2 := parseDigits(to)
	size, ok3 := parseDigits(total)
	if !found || !both || !ok1 || !ok2 || !ok3 || first > last || last >= size {
		return 0, 0, 0, false
	}
	return first, last, size, true
}

// parseDigits reads a number of 1 to 18 digits, and nothing else.
func parseDigits(text string) (n int64, ok bool) {
	if text == "" || len(text) > 18 {
		return 0, false
	}
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
