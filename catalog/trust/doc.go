// Package trust is the signed list of everything that a machine may be given,
// and the keys behind it.
//
// A catalog is a folder of metadata as The Update Framework has them. It is
// made by [Init] and changed through a [Repository]: [Repository.Release] signs
// bundles, images and recalls with release keys, [Repository.Refresh] is what a
// server does once a day with the online key, [Repository.Rotate] replaces keys,
// [Repository.Status] tells what expires when, [Repository.Verify] what is
// damaged.
//
// Whoever wants something from a catalog gets it by [Load]: through a [Source],
// which may be anybody's, and starting from a root that is trusted. What comes
// back is a [Catalog] of which every word is signed, or an error.
//
// A machine with neither clock nor memory asks its server for a job ticket: it
// makes a [Nonce], and gives Load the answer. See [SignTicket] and
// [Root.VerifyTicket].
//
// Keys are files in the format of minisign, see [SecretKey] and [PublicKey].
//
// The package does not fetch what the catalog lists, and knows no machines.
// Everything here is specified in section 7 of docs/bundles.md.
package trust
