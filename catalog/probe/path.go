package probe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// maxLinks is how many links a path may lead through, as in Linux.
const maxLinks = 40

// Follow returns the path, relative to the root, of what name leads to when
// every link is followed inside of the root, the last one too. A slash at the
// start of name says nothing, and what leads out of the root stays at its top.
//
// The last part of the path need not exist; what is missing before it is an
// error that wraps fs.ErrNotExist. The answer is a name and no more: whoever
// opens it is kept inside of the root by package root.
func Follow(r *root.Root, name string) (string, error) {
	if strings.ContainsRune(name, 0) || len(name) >= unix.PathMax {
		return "", fmt.Errorf("%.100q is no path", name)
	}
	done := "."
	todo := parts(name)
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		if todo[0] == ".." { // of a link: done has none in it, so its name tells
			next = path.Dir(done)
		}
		todo = todo[1:]
		st, err := r.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) && len(todo) == 0 {
			return next, nil
		}
		if err != nil {
			return "", err
		}
		if st.Type != root.Symlink {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: more than %d links", name, maxLinks)
		}
		to, err := r.Readlink(next)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(to, "/") {
			done = "."
		}
		todo = append(strings.FieldsFunc(to, isSlash), todo...)
	}
	return done, nil
}

func isSlash(c rune) bool { return c == '/' }

// parts returns the names in a path; what would lead out of the root stays at
// its top.
func parts(name string) []string {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return nil
	}
	return strings.Split(clean[1:], "/")
}

// missing tells whether an error says that a thing is not there, or that what
// should hold it is no directory.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)
}

// stat describes what name leads to. A thing that is not there is no error.
func (p *Probes) stat(name string) (st root.Stat, found bool, err error) {
	real, err := Follow(p.root, name)
	if err == nil {
		st, err = p.root.Lstat(real)
	}
	if missing(err) {
		return st, false, nil
	}
	return st, err == nil, err
}

// open opens the regular file that name leads to; nil is one that is not there.
func (p *Probes) open(name string) (*os.File, error) {
	real, err := Follow(p.root, name)
	if err != nil {
		if missing(err) {
			return nil, nil
		}
		return nil, err
	}
	f, err := p.root.Open(real)
	if missing(err) {
		return nil, nil
	}
	return f, err
}

// read returns the contents of a file of at most limit bytes.
func (p *Probes) read(name string, limit int64) (contents []byte, found bool, err error) {
	f, err := p.open(name)
	if f == nil {
		return nil, false, err
	}
	defer f.Close()
	contents, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, false, err
	}
	if int64(len(contents)) > limit {
		return nil, false, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return contents, true, nil
}
