package multicast

import (
	"fmt"
	"math"
)

// Bounds of section 2.
const (
	maxFrame      = 17 << 20 // bytes of a frame
	minSymbol     = 256      // bytes of a symbol, as are the next two
	maxSymbol     = 8192
	symbolStep    = 16
	maxSource     = 192            // source symbols of a block
	paritySymbols = 64             // of each block
	maxBlocks     = 255            // of a frame
	maxFrames     = math.MaxUint32 // of a session; so frame + 1 is a u32 too
)

// pieceSize is the length of the pieces of a preface but for the last one.
const pieceSize = 256 << 10

// pieces returns into how many frames a preface of so many bytes is cut.
func pieces(length int) int { return (length + pieceSize - 1) / pieceSize }

// checkSymbolSize refuses what no session may have.
func checkSymbolSize(size int) error {
	if size < minSymbol || size > maxSymbol || size%symbolStep != 0 {
		return fmt.Errorf("%w: symbols of %d bytes", errMalformed, size)
	}
	return nil
}

// largestFrame returns how long a frame may be, given the symbol size.
func largestFrame(symbolSize int) int {
	return min(maxFrame, maxBlocks*maxSource*symbolSize)
}

// A cut is how a frame is divided into symbols and blocks, section 2.
type cut struct{ length, symbolSize, symbols, blocks int }

// newCut cuts a frame of length bytes, 1 to largestFrame.
func newCut(length, symbolSize int) cut {
	symbols := (length + symbolSize - 1) / symbolSize
	return cut{length, symbolSize, symbols, (symbols + maxSource - 1) / maxSource}
}

// source returns how many source symbols the block has, k in the document.
func (c cut) source(block int) int {
	if block < c.symbols%c.blocks {
		return c.symbols/c.blocks + 1
	}
	return c.symbols / c.blocks
}

// first returns the number of the block's first symbol within the frame.
func (c cut) first(block int) int {
	return block*(c.symbols/c.blocks) + min(block, c.symbols%c.blocks)
}

// span returns where the block's source symbols lie in the frame: from its
// first byte to the one after its last.
func (c cut) span(block int) (start, end int) {
	start = c.first(block) * c.symbolSize
	return start, min(start+c.source(block)*c.symbolSize, c.length)
}
