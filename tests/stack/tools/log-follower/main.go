// Follows a Rekor v2 log from one checkpoint to the next: `log-follower URL ORIGIN KEY.pem STATE`. Only for the tests.
//
// rekor-monitor cannot be had as a module; these are the libraries that its consistency check of Rekor v2 is made of:
// rekor-tiles' client, tessera's proof builder, and the proofs of transparency-dev/merkle.
package main

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"

	"github.com/sigstore/rekor-tiles/v2/pkg/client/read"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/client"
)

// head is what is remembered of a checkpoint.
type head struct {
	Size uint64
	Root []byte
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 {
		log.Fatal("log-follower URL ORIGIN KEY.pem STATE")
	}
	if err := follow(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func follow(ctx context.Context, url, origin, key, state string) error {
	verifier, err := signature.LoadVerifierFromPEMFile(key, crypto.SHA256)
	if err != nil {
		return err
	}
	reader, err := read.NewReader(url, origin, verifier)
	if err != nil {
		return err
	}
	checkpoint, _, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	now := head{checkpoint.Size, checkpoint.Hash}
	before, err := remembered(state)
	if err != nil {
		return err
	}
	if before != nil {
		if err := consistent(ctx, reader, *before, now); err != nil {
			return err
		}
		fmt.Printf("consistent from %d to %d\n", before.Size, now.Size)
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return os.WriteFile(state, data, 0o600)
}

func remembered(state string) (*head, error) {
	data, err := os.ReadFile(state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := new(head)
	return found, json.Unmarshal(data, found)
}

func consistent(ctx context.Context, reader read.Client, before, now head) error {
	if now.Size < before.Size {
		return fmt.Errorf("the log has shrunk from %d to %d", before.Size, now.Size)
	}
	builder, err := client.NewProofBuilder(ctx, now.Size, reader.ReadTile)
	if err != nil {
		return err
	}
	found, err := builder.ConsistencyProof(ctx, before.Size, now.Size)
	if err != nil {
		return err
	}
	return proof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, now.Size, found, before.Root, now.Root)
}
