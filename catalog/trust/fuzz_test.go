package trust

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"
)

// Whatever a file of metadata is replaced by, without a key nobody makes a catalog
// of other contents.
func FuzzLoad(f *testing.F) {
	s := newShop(f, 1, 1)
	s.offer("room@1")
	src := files(f, s.dir)
	want, err := Load(f.Context(), src, LoadOptions{Root: s.root})
	if err != nil {
		f.Fatal(err)
	}
	names := []string{timestampFile, "2.snapshot.json", "2.targets.json", "2.root.json"}
	for i, name := range names {
		f.Add(uint8(i), src[name])
		f.Add(uint8(i), s.root)
	}
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		got, err := Load(t.Context(), src.with(names[int(which)%len(names)], p), LoadOptions{Root: s.root})
		if err != nil {
			return
		}
		if got.Versions != want.Versions || !reflect.DeepEqual(got.Images, want.Images) || got.Bundles != nil {
			t.Errorf("%s as %q gives %+v", names[int(which)%len(names)], p, got)
		}
	})
}

// Whatever those who have the keys sign as targets, a reader takes only what it
// would write itself.
func FuzzSignedTargets(f *testing.F) {
	s := newShop(f, 1, 1)
	s.offer("room@1")
	signed, _ := replaceValue(f, s.read("2.targets.json"), 1<<30, nil)
	f.Add(mustJSON(f, signed))
	f.Add([]byte(`{"_type":"targets","expires":"2036-01-01T00:00:00Z","spec_version":"1.0","targets":{"images/a@1":{"custom":{"kind":"image"},"hashes":{"sha256":""},"length":1}},"version":2}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		raw, ok := signRaw(p, s.release[0])
		if !ok {
			return
		}
		own := *s
		own.t = t
		src := own.forge(func(f *forgery) { f.rawTargets = raw })
		c, err := Load(t.Context(), src, LoadOptions{Root: src["1.root.json"]})
		if err != nil {
			return
		}
		for _, i := range c.Images {
			target, err := i.target()
			if err != nil {
				t.Fatal(err)
			}
			again, err := decodeTarget(imagePrefix+i.ID(), target)
			if err != nil || !reflect.DeepEqual(*again.image, i) {
				t.Errorf("%+v comes back as %+v, %v", i, again.image, err)
			}
		}
	})
}

// A ticket is read only as SignTicket writes it, and none is taken that the key
// has not signed.
func FuzzTicket(f *testing.F) {
	s := newShop(f, 1, 1)
	root := s.load().Root
	opt := s.ask(s.online, nil)
	f.Add(opt.Ticket)
	f.Add(bytes.Replace(opt.Ticket, []byte("pc-1"), []byte(`pc\u003c1`), 1))
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := root.VerifyTicket(p, opt.Nonce, opt.Machine); err == nil && !bytes.Equal(p, opt.Ticket) {
			t.Errorf("%q is taken", p)
		}
		parsed, err := decodeTicket(p)
		if err != nil {
			return
		}
		c, err := parsed.Signed.claims()
		if err != nil {
			return
		}
		again, err := SignTicket(*c, s.online)
		if err != nil {
			t.Fatalf("%+v cannot be signed: %v", c, err)
		}
		got, err := root.VerifyTicket(again, c.Nonce, c.Machine)
		if c.Nonce == (Nonce{}) {
			if !errors.Is(err, ErrTicket) {
				t.Errorf("without a nonce: %v", err)
			}
			return
		}
		if err != nil || *got != *c {
			t.Errorf("%+v comes back as %+v, %v", c, got, err)
		}
	})
}

// A secret key that is read comes back the same from what it is written as.
func FuzzSecretKey(f *testing.F) {
	k := newKey(f)
	p, err := k.Encode("")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add(cheap(f, k, "x"))
	f.Add(k.Public().Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		k, err := ParseSecretKey(p, func() (string, error) { return "", io.EOF }) // a gibibyte each time would be no test
		if err != nil {
			return
		}
		again, err := k.Encode("")
		if err != nil {
			t.Fatal(err)
		}
		k2, err := ParseSecretKey(again, nil)
		if err != nil || k2.Public().ID() != k.Public().ID() || k2.Public().Number() != k.Public().Number() {
			t.Errorf("%q comes back as %v, %v", p, k2, err)
		}
		sig, err := k.sign([]byte("x"))
		if err != nil || len(sig) != 64 {
			t.Errorf("it signs %x, %v", sig, err)
		}
	})
}

// A public key that is read comes back the same from what it is written as.
func FuzzPublicKey(f *testing.F) {
	f.Add(newKey(f).Public().Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		k, err := ParsePublicKey(p)
		if err != nil {
			return
		}
		again, err := ParsePublicKey(k.Encode())
		if err != nil || again.ID() != k.ID() || again.Number() != k.Number() {
			t.Errorf("%q comes back as %v, %v", p, again, err)
		}
	})
}

// A signature of an author that is taken is the one that was made.
func FuzzVerifyFile(f *testing.F) {
	k := newKey(f)
	sig, err := SignFile(f.Context(), bytes.NewReader([]byte("contents")), k, "comment")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("contents"), sig)
	f.Add([]byte("Contents"), sig)
	f.Fuzz(func(t *testing.T, contents, sig []byte) {
		_, err := VerifyFile(t.Context(), bytes.NewReader(contents), sig, []PublicKey{k.Public()})
		if err == nil && string(contents) != "contents" {
			t.Errorf("%q is the signature of %q", sig, contents)
		}
	})
}
