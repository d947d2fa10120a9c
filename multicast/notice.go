package multicast

// The messages that say one thing, section 4.
type (
	// A mode says how a receiver takes what it lacks.
	mode struct {
		fetches bool // by HTTPS, since it gets no multicast
		why     string
	}

	// A done says that all that a receiver lacked is on its disk.
	done struct{ name []byte } // of the content

	// A failed says why a receiver gives up.
	failed struct{ why string }

	// A fetch tells a receiver to fetch by HTTPS, and why.
	fetch struct{ why string }

	// A dropped tells a receiver why it is given up.
	dropped struct{ why string }

	// A closing answers done.
	closing struct{}
)

func (mode) messageType() messageType    { return typeMode }
func (done) messageType() messageType    { return typeDone }
func (failed) messageType() messageType  { return typeFailed }
func (fetch) messageType() messageType   { return typeFetch }
func (dropped) messageType() messageType { return typeDropped }
func (closing) messageType() messageType { return typeClosing }

func (m mode) append(dst []byte) []byte {
	return appendString(appendBool(dst, m.fetches), m.why, maxString)
}

func (m done) append(dst []byte) []byte    { return appendBytes(dst, m.name) }
func (m failed) append(dst []byte) []byte  { return appendString(dst, m.why, maxString) }
func (m fetch) append(dst []byte) []byte   { return appendString(dst, m.why, maxString) }
func (m dropped) append(dst []byte) []byte { return appendString(dst, m.why, maxString) }
func (closing) append(dst []byte) []byte   { return dst }
