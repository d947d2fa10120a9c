package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// A jsonType documents a type of the objects that --json prints.
type jsonType struct {
	name    string
	meaning string
	fields  []jsonField // besides type and schema
}

// A jsonField documents a field of an object.
type jsonField struct {
	name     string
	meaning  string
	optional bool
}

// jsonTypes returns all types. slipcast help json and docs/cli.md are printed
// from it, and the tests hold every object against it.
func jsonTypes() []jsonType {
	image := jsonField{name: "image", meaning: "IMAGE as it was given"}
	target := jsonField{name: "target", meaning: "TARGET as it was given"}
	digest := jsonField{name: "digest", meaning: "of the image, in hexadecimal"}
	chunks := jsonField{name: "chunks", meaning: "how many there are"}
	used := jsonField{name: "used_bytes", meaning: "that are in use"}
	seconds := jsonField{name: "seconds", meaning: "that it took"}
	size := jsonField{name: "image_bytes", meaning: "length of the image"}
	disk := jsonField{name: "disk_bytes", meaning: "size of the disk in the image"}
	readErrors := jsonField{name: "read_errors", meaning: "list of start and length in bytes: what could not be read and is zeros"}
	return []jsonType{
		{"captured", "the result of capture", []jsonField{
			{name: "source", meaning: "SOURCE as it was given"}, image, digest, disk, used, size, chunks,
			{name: "zero_chunks", meaning: "of these, in use but all zeros"},
			{name: "stored_chunks", meaning: "of these, not compressed, because it does not pay"},
			{name: "reused_chunks", meaning: "of these, copied from the parent"}, readErrors, seconds,
		}},
		{"restored", "the result of restore", []jsonField{
			image, target, {name: "written_bytes", meaning: "that were written to the target"}, chunks,
			{name: "kept_chunks", meaning: "of these, already on the target (--delta)"},
			{name: "table_moved", meaning: "whether the partition table was adapted to a target of another size"},
			{name: "verified", meaning: "whether everything was read back (--verify)"}, seconds,
			optional(digest), optional(used),
			{name: "format", meaning: "raw, zstd, gzip or xz, if slipcast did not make the image; then digest and used_bytes are absent", optional: true},
		}},
		{"verified", "the result of verify IMAGE", []jsonField{image, digest, chunks, used, seconds}},
		{"difference", "one for each chunk that verify IMAGE TARGET finds to differ", []jsonField{
			{name: "chunk", meaning: "its number, from 0"}, {name: "start", meaning: "offset on the disk in bytes"},
			{name: "length", meaning: "bytes"}, {name: "place", meaning: "what it belongs to, for people"},
		}},
		{"compared", "the result of verify IMAGE TARGET", []jsonField{
			image, target, digest, chunks, {name: "differing_chunks", meaning: "of these, how many differ"},
		}},
		{"image", "the result of inspect", []jsonField{
			image, digest, size, disk, used,
			{name: "logical_sector", meaning: "bytes"}, {name: "physical_sector", meaning: "bytes"},
			{name: "chunk_bytes", meaning: "size of a chunk"}, chunks, {name: "extents", meaning: "how many there are in use"},
			{name: "table", meaning: "kind (gpt, mbr, none), id, and the list partitions: number, start, size, type, type_name, uuid, name, attributes, active, logical, extended"},
			{name: "volumes", meaning: "list of what was looked at for a file system: partition (0 is the whole disk), start, size, used_bytes, free_bytes, type, label, uuid, block_size, whole, dirty, notes"},
			{name: "notes", meaning: "list of about and text, for people"}, readErrors,
			{name: "origin", meaning: "time, tool, level, source, parent", optional: true},
		}},
		{"mounted", "printed by mount as soon as the files are there", []jsonField{
			image, {name: "dir", meaning: "DIR as it was given"}, digest,
		}},
		{"store", "the result of store init", []jsonField{{name: "store", meaning: "its folder"}}},
		{"added", "the result of store add", append(entryFields(),
			jsonField{name: "source", meaning: "IMAGE as it was given"}, chunks,
			jsonField{name: "new_chunks", meaning: "of these, those that the store did not have"},
			jsonField{name: "written_bytes", meaning: "of new chunks, compressed"}, used, seconds)},
		{"entry", "one for each image that store list finds", entryFields()},
		{"removed", "one for each image that store remove removes", []jsonField{{name: "image", meaning: "NAME@VERSION"}}},
		{"collected", "the result of store gc", []jsonField{
			{name: "removed_chunks", meaning: "that no image needs"}, {name: "freed_bytes", meaning: "of these, compressed"},
			{name: "chunks", meaning: "that images need"}, {name: "removed_adds", meaning: "how many adds had been cut short"},
		}},
		{"fault", "one for each thing in the store that is damaged", []jsonField{
			{name: "path", meaning: "of its file"}, {name: "text", meaning: "for people"},
			{name: "image", meaning: "NAME@VERSION, if it is an image and neither a chunk nor of the catalog", optional: true},
		}},
		{"store_verified", "the result of store verify", []jsonField{
			{name: "store", meaning: "its folder"}, {name: "images", meaning: "how many there are"}, chunks,
			{name: "frame_bytes", meaning: "of the chunks, compressed"},
			{name: "bundles", meaning: "of the catalog in the store, whose files were checked"}, {name: "bundle_bytes", meaning: "of these"},
			{name: "missing_bundles", meaning: "that a mirror has not fetched yet"},
			{name: "faults", meaning: "how many there are"}, seconds,
		}},
		mirroredType(), exportedType(), importedType(), damagedPartType(), missingType(),
		bundleFolderType(), bundleBuiltType(), bundleType(), bundleTestType(),
		planStepType(), planProductType(), planBundleType(), planType(), complianceCellType(), complianceType(), impactType(), appliedType(), failedType(), productType(), undoneType(), bakedType(),
		catalogType(), releasedType(), releasedBundleType(), releasedImageType(), refreshedType(), rotatedType(), keyType(), signedType(),
		bootFileType(), bootType(), machineType(), jobType(), findingType(), dhcpServerType(), checkedType(),
		sessionType(), receiversType(), sentType(), offerType(), receivedType(),
		{"waiting", "on standard error, by receive when it changes", []jsonField{
			{name: "text", meaning: "what it is waiting for, for people"},
		}},
		{"progress", "on standard error, one each second and one at the end", []jsonField{
			{name: "stage", meaning: "capture, restore, receive, add, build, release, mirror, export, import, apply, verify or compare"}, {name: "done", meaning: "bytes"},
			{name: "rate", meaning: "bytes a second"}, {name: "total", meaning: "bytes, if they are known", optional: true},
			{name: "left_seconds", meaning: "if they are known", optional: true},
		}},
		{"note", "on standard error: what people should know", []jsonField{
			{name: "about", meaning: "a partition, a device or a file"}, {name: "text", meaning: "for people"},
		}},
		{"error", "on standard error, the last line of a command that failed", []jsonField{
			{name: "code", meaning: "the exit code"}, {name: "message", meaning: "what was done, to what, and why not"},
			{name: "hint", meaning: "what can be done about it", optional: true},
		}},
	}
}

// entryFields returns the fields of an image in a store.
func entryFields() []jsonField {
	return []jsonField{
		{name: "image", meaning: "NAME@VERSION"}, {name: "name", meaning: "NAME"}, {name: "version", meaning: "VERSION"},
		{name: "digest", meaning: "of the image, in hexadecimal"}, {name: "added", meaning: "when, as in RFC 3339"},
		{name: "disk_bytes", meaning: "size of the disk in the image"}, {name: "image_bytes", meaning: "length of the image as a file"},
	}
}

func optional(f jsonField) jsonField {
	f.optional = true
	return f
}

// newJSONTopic returns the help topic of that name.
func newJSONTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "json",
		Short: "What --json prints",
		Long: fmt.Sprintf(`With --json every line is an object with a type, and a schema, which is %d. The
result is on standard output, or on standard error where capture writes the
image to standard output. New fields and types may be added; a field changes
its meaning only with the schema. All sizes and offsets are in bytes. Fields in
brackets are not always there.

`, schema) + jsonTypeTable(),
	}
}

func jsonTypeTable() string {
	var b strings.Builder
	for _, t := range jsonTypes() {
		fmt.Fprintf(&b, "%s: %s\n", t.name, t.meaning)
		for _, f := range t.fields {
			name := f.name
			if f.optional {
				name = "[" + name + "]"
			}
			fmt.Fprintf(&b, "  %-18s %s\n", name, wrap(f.meaning, 58, strings.Repeat(" ", 21)))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// wrap breaks text into lines of at most so many columns; indent begins all
// but the first.
func wrap(text string, columns int, indent string) string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > columns {
			lines = append(lines, line)
			line = ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return strings.Join(append(lines, line), "\n"+indent)
}
