package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kcp-tmc/tmc/pkg/apis/tmc/v1alpha1"
	"github.com/kcp-tmc/tmc/pkg/bootstrap"
	"github.com/kcp-tmc/tmc/pkg/cli/install"
)

const joinExample = `  # Register the cluster east, and run its syncer there
  kubectl tmc join east --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml
  kubectl --context east apply -f east.yaml

  # Let the clusters eu-1 and eu-2, which trust each other, share one view of kcp
  kubectl tmc join eu-1 --group eu-prod --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o eu-1.yaml
  kubectl tmc join eu-2 --group eu-prod --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o eu-2.yaml

  # Also let workloads come into the cluster's namespace default, which tmc has not made
  kubectl tmc join east --allow-namespaces default --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml

  # Write the manifest again, for instance after an upgrade, without a new token
  kubectl tmc join east --no-token --image registry.example.com/kcp-tmc/tmc:v1.2.4 -o east.yaml

  # End all tokens that east has had, because one was stolen or east was built anew
  kubectl tmc join east --revoke --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml

  # See what would be made, and make nothing
  kubectl tmc join east --image registry.example.com/kcp-tmc/tmc:v1.2.3 --dry-run`

// joinOptions are the flags of join.
type joinOptions struct {
	*kcpOptions

	// syncer is about the syncer in its cluster.
	syncer bootstrap.Options
	// pullPolicy is the text of syncer.ImagePullPolicy.
	pullPolicy string
	// join is about the cluster in kcp.
	join install.JoinOptions
	// caFile holds the certificates of kcp's authority.
	caFile string
	// outputFile is where the manifest goes, empty for stdout.
	outputFile string
}

// newJoinCommand returns the command that joins a cluster.
func newJoinCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "join NAME",
		Short: "Register a cluster, and print the manifest of its syncer",
		Long: `Register a cluster in kcp, give its syncer an account with the permissions that it needs,
and print the manifest that runs the syncer in the cluster. The manifest holds a token for
kcp, which the syncer renews by itself: keep it to yourself, and apply it soon.

The cluster is isolated: its syncer sees what is placed on the cluster, through an APIExport
of its own, and nothing else. Nothing is placed there from a workspace that has not bound that
export. This command binds it in workspaces of the type tmc-tenant, as far as you may; in
others, somebody runs 'kubectl tmc bind'.
With --group, the clusters of a group share one APIExport, and each may see what is placed
on any of them: kcp then keeps one view for all, not one for each. With --shared, the
cluster's credential can read every object of all bound workspaces, every Secret included,
wherever it is placed: that is for fleets that trust each other.

Workloads come into namespaces that tmc makes on the cluster, and into no other, not even
into default, unless --allow-namespaces lists it.

A ValidatingAdmissionPolicy in the manifest has the cluster itself restrict the syncer's
account to objects and namespaces that bear tmc's marks, and to the allowed namespaces. If
somebody allows others in kcp later, join again and apply the manifest. Kubernetes has such
policies since 1.30: for an older cluster, --admission-policy=false leaves it out.

Join again with other flags to change the isolation. Nothing restarts in the cluster. What the
isolation before needs is deleted by the next 'kubectl tmc join' or 'kubectl tmc init' after
the cluster's syncer has begun to run with the new manifest.

Run it again at any time: it makes a new token and changes nothing else that is as the flags
say. The manifest is made from the flags: give the same ones. The earlier token stays valid
until it ends, a day at most. With --revoke, all tokens end at once, and what their holders
wrote about who has the name and which APIExport is used is deleted: use it when a credential
may have been stolen, and when the cluster was built anew under its name. 'kubectl tmc unjoin'
ends all tokens, too.`,
		Example: joinExample,
		Args:    needOneCluster("joined"),
	}
	options := &joinOptions{kcpOptions: newKCPOptions(command)}
	options.addFlags(command)
	return options.runs(command, func(ctx context.Context, args []string) error {
		options.join.Cluster, options.syncer.Cluster = args[0], args[0]
		return runJoin(ctx, options)
	})
}

func (o *joinOptions) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.syncer.Image, "image", "", "Image of tmc that the cluster runs. Required")
	flags.StringVar(&o.pullPolicy, "image-pull-policy", "", "When the image is pulled: Always, IfNotPresent or Never (default: that of the cluster)")
	flags.StringVarP(&o.syncer.Namespace, "namespace", "n", bootstrap.DefaultNamespace, "Namespace of the syncer in its cluster; nothing else belongs there")
	flags.Int32Var(&o.syncer.Replicas, "replicas", bootstrap.DefaultReplicas, "How many syncers run: one works, the others take over")
	flags.StringSliceVar(&o.syncer.MetricsFrom, "metrics-from", nil, "Namespaces of the cluster, by name, whose pods may read the syncer's metrics (default: none; metrics are for the syncer's own pod)")
	flags.BoolVar(&o.syncer.AdmissionPolicy, "admission-policy", true, "Have the cluster itself restrict the syncer's account to what is tmc's, by a ValidatingAdmissionPolicy. A cluster older than Kubernetes 1.30 has none: =false leaves it out")
	flags.StringSliceVar(&o.syncer.PolicyNamespaces, "policy-namespaces", nil, "Namespaces that tmc has not made and that the policy lets copies into; * stands for any characters (default: those of --allow-namespaces, or that the ClusterRegistration allows already)")
	flags.StringSliceVar(&o.join.Kinds, "kinds", nil, "Kinds to sync, such as deployments or deployments.apps (default: all that the APIExport serves)")
	flags.StringToStringVar(&o.join.Labels, "labels", nil, "Labels, KEY=VALUE,…, that placements select the cluster by. Others that it has stay")
	flags.StringVar(&o.join.Location, "location", "", "Where the cluster is: a region, a site. An earlier location stays if this is not given")
	flags.StringSliceVar(&o.join.AllowedNamespaces, "allow-namespaces", nil, "Namespaces of the cluster that workloads may come into although tmc did not make them, such as default,shop-* (default: none; an earlier list stays if this is not given). Whoever may use the cluster can use what is in them: ServiceAccounts and Secrets")
	flags.StringSliceVar(&o.join.FormerNames, "former-name", nil, "Name that the cluster had before, whose copies are cleaned up once it is removed. May be repeated")
	flags.BoolVar(&o.join.Shared, "shared", false, "Let the cluster see all that bound workspaces have, every Secret included, wherever it is placed. For fleets that trust each other")
	flags.StringVar(&o.join.Group, "group", "", "Isolation group of the cluster, a DNS label of at most 50 characters: its clusters share one view, of what is placed on any of them")
	flags.BoolVar(&o.join.NoToken, "no-token", false, "Make no token, and print the manifest without the Secret that holds it: the syncer keeps its present one")
	flags.BoolVar(&o.join.Revoke, "revoke", false, "End all tokens that the cluster has had, at once: its syncer works again when the new manifest is applied")
	flags.StringVar(&o.caFile, "ca-file", "", "File with the certificates, in PEM, by which the cluster verifies kcp (default: those of the kubeconfig)")
	flags.StringVar(&o.join.Server, "kcp-server", "", "URL of kcp as the cluster reaches it (default: that of the kubeconfig)")
	flags.DurationVar(&o.join.TokenLifetime, "token-lifetime", install.DefaultTokenLifetime, "How long the token is valid unless it is renewed")
	flags.StringVarP(&o.outputFile, "output-file", "o", "", "File to write the manifest to, readable by you alone (default: stdout)")
	flags.BoolVar(&o.join.DryRun, "dry-run", false, "Say what would be made in kcp, make nothing, and print the manifest without a token")
}

// runJoin joins, and prints the manifest.
func runJoin(ctx context.Context, options *joinOptions) error {
	if options.syncer.Image == "" {
		return errors.New("--image is required: the image of tmc that the cluster runs, for instance registry.example.com/kcp-tmc/tmc:v1.2.3")
	}
	var err error
	if options.join.Options, err = options.installOptions(); err != nil {
		return err
	}
	// kcp says later which export and kinds there are; the rest is checked before anything is written.
	probe := options.manifestOptions(install.Joined{Export: v1alpha1.APIExportName, Kinds: []schema.GroupResource{{Resource: "configmaps"}}})
	if err := probe.Validate(); err != nil {
		return err
	}
	joined, err := install.Join(ctx, options.join)
	if err != nil {
		return err
	}
	syncer := options.manifestOptions(joined)
	if !options.join.NoToken {
		if syncer.Kubeconfig, err = joined.Kubeconfig(); err != nil {
			return err
		}
	}
	manifest, err := bootstrap.Manifest(syncer)
	if err != nil {
		return fmt.Errorf("the manifest of cluster %s: %w", syncer.Cluster, err)
	}
	if options.outputFile == "" {
		_, err = forPrograms(options.out).Write(manifest)
	} else {
		err = writeSecret(options.outputFile, manifest)
	}
	if err != nil {
		return err
	}
	options.sayJoined(joined)
	return nil
}

// installOptions validates the flags, and returns the options of the install package. What is applied is told on
// stderr: the manifest is on stdout.
func (o *joinOptions) installOptions() (install.Options, error) {
	options, err := o.kcpOptions.installOptions()
	if err != nil {
		return options, err
	}
	suffix := ""
	if o.join.DryRun {
		suffix = " (dry run)"
	}
	options.OnApplied = func(result install.Result) { fmt.Fprintln(o.progress, result.String()+suffix) }
	if o.caFile != "" {
		if o.join.CAData, err = os.ReadFile(o.caFile); err != nil {
			return options, fmt.Errorf("--ca-file: %w", err)
		}
		if len(o.join.CAData) == 0 {
			return options, fmt.Errorf("--ca-file: %s is empty", o.caFile)
		}
	}
	return options, nil
}

// manifestOptions returns what the manifest is made of, without the kubeconfig. Its policy lets copies into the
// namespaces that kcp allows, unless the flags say otherwise.
func (o *joinOptions) manifestOptions(joined install.Joined) bootstrap.Options {
	syncer := o.syncer
	syncer.ImagePullPolicy = corev1.PullPolicy(o.pullPolicy)
	syncer.ProviderWorkspace, syncer.Export, syncer.Kinds, syncer.FormerNames = o.providerWorkspace, joined.Export, joined.Kinds, o.join.FormerNames
	if syncer.AdmissionPolicy && syncer.PolicyNamespaces == nil {
		syncer.PolicyNamespaces = joined.AllowedNamespaces
	}
	return syncer
}

// writeSecret writes a file that nobody else may read, not even if others could read it before.
func writeSecret(name string, data []byte) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // the caller names it
	if err != nil {
		return fmt.Errorf("--output-file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := errors.Join(file.Chmod(0o600), file.Truncate(0)); err != nil {
			return fmt.Errorf("--output-file: %w", err)
		}
	}
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("--output-file: %w", err)
	}
	return nil
}

// sayJoined tells what has been done, what follows from it, and what to do next.
func (o *joinOptions) sayJoined(joined install.Joined) {
	cluster, file := o.join.Cluster, cmp.Or(o.outputFile, "FILE")
	say := func(format string, args ...any) { fmt.Fprintf(o.progress, format+"\n", args...) }
	if isLoopback(joined.Server) {
		say("warning: %s is an address of this machine: no cluster elsewhere reaches kcp there; --kcp-server says where it does", joined.Server)
	}
	if o.join.DryRun {
		say("nothing has been made in kcp, and the manifest holds no token: it is for looking at")
		return
	}
	validity := fmt.Sprintf("its token ends at %s, unless its syncer has renewed it by then", joined.Expires.UTC().Format(time.RFC3339))
	if o.join.NoToken {
		validity = "its syncer keeps the token that it has"
	}
	say("cluster %s is joined; %s: apply the manifest with `kubectl --context %s apply -f %s`", cluster, validity, cluster, file)
	switch {
	case !joined.IsAgain || o.join.NoToken:
	case o.join.Revoke:
		say("its earlier tokens are refused from now on: its syncer touches nothing until the manifest is applied")
	default:
		say("its earlier tokens stay valid until they end, and whoever has one may renew it: if one may have been stolen, end all of them with `kubectl tmc join %s --revoke`", cluster)
	}
	if o.join.Shared {
		say("warning: it is shared: with its credential, every object of all bound workspaces can be read, every Secret included, also of what is placed elsewhere; join it without --shared to isolate it")
	} else {
		what := "on it"
		if o.join.Group != "" {
			what = "on the clusters of group " + o.join.Group
		}
		say("it sees what is placed %s, and nothing else, in workspaces that have APIExport %s bound: run `kubectl tmc bind` in those that are not of the type %s",
			what, joined.Export, o.tenantType())
	}
	if len(joined.Former) > 0 {
		say("its syncer still runs with APIExport %s, and its account may use that as well: once it runs with this manifest, take that away with `kubectl tmc init`",
			strings.Join(joined.Former, " and "))
	}
}

// isLoopback reports whether a server is on the machine that asks for it.
func isLoopback(server string) bool {
	parsed, err := url.Parse(server)
	if err != nil {
		return false
	}
	host := parsed.Hostname()
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}
