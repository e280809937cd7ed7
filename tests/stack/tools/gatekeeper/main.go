// Gatekeeper without a cluster: reads templates, constraints, providers and objects as YAML from standard input, asks
// the providers as Gatekeeper does, and prints the violations, one JSON string a line. Only for the tests.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/open-policy-agent/frameworks/constraint/pkg/apis/externaldata/unversioned"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client"
	"github.com/open-policy-agent/frameworks/constraint/pkg/client/drivers/rego"
	"github.com/open-policy-agent/frameworks/constraint/pkg/externaldata"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/gator/reader"
	"github.com/open-policy-agent/gatekeeper/v3/pkg/gator/test"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

func main() {
	all, err := reader.ReadK8sResources(os.Stdin)
	check(err)
	providers := externaldata.NewCache()
	var rest []*unstructured.Unstructured
	for _, one := range all {
		if one.GetKind() != "Provider" {
			rest = append(rest, one)
			continue
		}
		var provider unversioned.Provider
		check(runtime.DefaultUnstructuredConverter.FromUnstructured(one.Object, &provider))
		check(providers.Upsert(&provider))
	}
	found, err := test.Test(rest, func() ([]client.Opt, []rego.Arg, error) {
		return nil, []rego.Arg{rego.AddExternalDataProviderCache(providers)}, nil
	})
	check(err)
	for _, one := range found.Results() {
		check(json.NewEncoder(os.Stdout).Encode(one.Msg))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
