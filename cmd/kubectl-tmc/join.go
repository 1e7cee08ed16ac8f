package main

import (
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

const joinExample = `  # Let the cluster east take part
  kubectl tmc join east --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml
  kubectl --context east apply -f east.yaml

  # Let the clusters eu-1 and eu-2, which trust each other, share one view of kcp
  kubectl tmc join eu-1 --group eu-prod --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o eu-1.yaml
  kubectl tmc join eu-2 --group eu-prod --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o eu-2.yaml

  # Let workloads come into the cluster's namespace default, which tmc has not made, too
  kubectl tmc join east --allow-namespaces default --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml

  # Write the manifest anew, for instance after an upgrade, and leave the token as it is
  kubectl tmc join east --no-token --image registry.example.com/kcp-tmc/tmc:v1.2.4 -o east.yaml

  # End all tokens that east has had, for one was stolen, or east was built anew
  kubectl tmc join east --revoke --image registry.example.com/kcp-tmc/tmc:v1.2.3 -o east.yaml

  # See what that would be, and make nothing
  kubectl tmc join east --image registry.example.com/kcp-tmc/tmc:v1.2.3 --dry-run`

// joinOptions are the flags of join.
type joinOptions struct {
	*kcpOptions

	cluster string
	// What is about the syncer in its cluster.
	image, pullPolicy, namespace string
	replicas                     int32
	metricsFrom                  []string
	admissionPolicy              bool
	policyNamespaces             []string
	// What is about the cluster in kcp.
	join install.JoinOptions
	// allowNamespaces is for join, which knows whether it was given at all.
	allowNamespaces []string
	// caFile holds the certificates of kcp's authority.
	caFile string
	// outputFile is where the manifest goes, if not to stdout.
	outputFile string
}

// newJoinCommand returns the command that joins a cluster.
func newJoinCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "join NAME",
		Short: "Let a cluster take part, and print the manifest of its syncer",
		Long: `Register a cluster in kcp, give its syncer an account with the permissions that it needs,
and print the manifest that runs the syncer in the cluster. The manifest holds a token for
kcp, which the syncer renews by itself: keep it to yourself, and apply it soon.

The cluster is isolated: through an APIExport of its own its syncer sees what is placed on
the cluster, and nothing else. Workspaces have to have that bound before anything is placed
there. This command binds it in those of the type tmc-tenant, as far as you may; in others
somebody runs 'kubectl tmc bind'.
With --group, the clusters of a group share one APIExport, and each may see what is placed
on any of them: kcp then keeps one view for all, not one for each. With --shared, the
cluster's credential reads every object of all bound workspaces, every Secret included,
wherever it is placed: that is for fleets that trust each other.

Workloads come into namespaces that tmc makes on the cluster, and into no other, not even
into default, unless --allow-namespaces lists it.

The cluster has a say of its own: a ValidatingAdmissionPolicy in the manifest holds the
syncer's account to objects and namespaces that bear tmc's marks, and to those namespaces. Who
allows others in kcp later joins again, and applies the manifest. Kubernetes has such policies
since 1.30: for a cluster that is older, --admission-policy=false leaves it out.

Join again with other flags to change that. Nothing restarts in the cluster. What was there
for the isolation before is taken away by the next 'kubectl tmc join' or 'kubectl tmc init'
after the cluster's syncer has begun to run with the new manifest.

Run it again at any time: it makes a new token and changes nothing else that is as the
flags say. What the manifest says of the cluster is what the flags say: give the same
ones. The token before stays valid until it ends, a day at most. With --revoke, all tokens
end at once, and what was said with them of whose the name is and what is used is forgotten:
when a credential may have been stolen, and when the cluster was built anew under its name.
'kubectl tmc unjoin' ends all of them, too.`,
		Example: joinExample,
		Args:    needOneCluster("joined"),
	}
	options := &joinOptions{kcpOptions: newKCPOptions(command)}
	options.addFlags(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		options.complete(command)
		options.cluster = args[0]
		if command.Flags().Changed("allow-namespaces") {
			options.join.AllowedNamespaces = append([]string{}, options.allowNamespaces...)
		}
		if err := options.validate(); err != nil {
			return err
		}
		return runJoin(command.Context(), options)
	}
	return command
}

func (o *joinOptions) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.image, "image", "", "Image of tmc that the cluster runs. Required")
	flags.StringVar(&o.pullPolicy, "image-pull-policy", "", "When the image is pulled: Always, IfNotPresent or Never (default: what the cluster does by itself)")
	flags.StringVarP(&o.namespace, "namespace", "n", bootstrap.DefaultNamespace, "Namespace of the syncer in its cluster; nothing else belongs there")
	flags.Int32Var(&o.replicas, "replicas", bootstrap.DefaultReplicas, "How many syncers run: one works, the others take over")
	flags.StringSliceVar(&o.metricsFrom, "metrics-from", nil, "Namespaces of the cluster, by name, whose pods may read the syncer's metrics (default: none; metrics are for the syncer's own pod)")
	flags.BoolVar(&o.admissionPolicy, "admission-policy", true, "Have the cluster itself hold the syncer's account to what is tmc's, by a ValidatingAdmissionPolicy. A cluster older than Kubernetes 1.30 has none: =false leaves it out")
	flags.StringSliceVar(&o.policyNamespaces, "policy-namespaces", nil, "Namespaces that tmc has not made and that the policy lets copies into; * stands for any characters (default: those of --allow-namespaces, or that the ClusterRegistration allows already)")
	flags.StringSliceVar(&o.join.Kinds, "kinds", nil, "Kinds to sync, such as deployments or deployments.apps (default: all that the APIExport serves)")
	flags.StringToStringVar(&o.join.Labels, "labels", nil, "Labels, KEY=VALUE,…, that placements select the cluster by. Others that it has stay")
	flags.StringVar(&o.join.Location, "location", "", "Where the cluster is: a region, a site. What is said already stays if this is not given")
	flags.StringSliceVar(&o.allowNamespaces, "allow-namespaces", nil, "Namespaces of the cluster that workloads may come into although tmc did not make them, such as default,shop-* (default: none; what is said already stays if this is not given). Whoever may use the cluster can use what is in them: ServiceAccounts and Secrets")
	flags.StringSliceVar(&o.join.FormerNames, "former-name", nil, "Name that the cluster had before, whose copies are cleaned up once it is removed. May be repeated")
	flags.BoolVar(&o.join.Shared, "shared", false, "Let the cluster see all that bound workspaces have, every Secret included, wherever it is placed. For fleets that trust each other")
	flags.StringVar(&o.join.Group, "group", "", "Isolation group of the cluster, a DNS label of at most 50 characters: its clusters share one view, of what is placed on any of them")
	flags.BoolVar(&o.join.NoToken, "no-token", false, "Make no token, and print the manifest without the Secret that holds it: the syncer goes on with the one that it has")
	flags.BoolVar(&o.join.Revoke, "revoke", false, "End all tokens that the cluster has had, at once: its syncer works again when the new manifest is applied")
	flags.StringVar(&o.caFile, "ca-file", "", "File with the certificates, in PEM, by which the cluster knows kcp (default: those of the kubeconfig)")
	flags.StringVar(&o.join.Server, "kcp-server", "", "URL of kcp as the cluster reaches it (default: that of the kubeconfig)")
	flags.DurationVar(&o.join.TokenLifetime, "token-lifetime", install.DefaultTokenLifetime, "How long the token is valid unless it is renewed")
	flags.StringVarP(&o.outputFile, "output-file", "o", "", "File to write the manifest to, readable by you alone (default: stdout)")
	flags.BoolVar(&o.join.DryRun, "dry-run", false, "Say what would be made in kcp, make nothing, and print the manifest without a token")
}

// needOneCluster refuses a command that does not have the name of one cluster.
func needOneCluster(done string) cobra.PositionalArgs {
	return func(command *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("one cluster is %s at a time", done)
		}
		return needClusters(command, args)
	}
}

// validate checks what no server has to be asked for.
func (o *joinOptions) validate() error {
	if o.image == "" {
		return errors.New("--image is required: the image of tmc that the cluster runs, for instance registry.example.com/kcp-tmc/tmc:v1.2.3")
	}
	// The rest of the options stands in for what kcp will say.
	probe := o.bootstrapOptions(install.Joined{Export: v1alpha1.APIExportName, Kinds: []schema.GroupResource{{Resource: "configmaps"}}})
	return errors.Join(o.kcpOptions.validate(), probe.Validate())
}

// bootstrapOptions returns what the manifest is made of, without the kubeconfig.
func (o *joinOptions) bootstrapOptions(joined install.Joined) bootstrap.Options {
	return bootstrap.Options{
		Cluster: o.cluster, Namespace: o.namespace, Image: o.image, ImagePullPolicy: corev1.PullPolicy(o.pullPolicy), Replicas: o.replicas,
		ProviderWorkspace: o.providerWorkspace, Export: joined.Export, Kinds: joined.Kinds,
		MetricsFrom:     o.metricsFrom,
		AdmissionPolicy: o.admissionPolicy, PolicyNamespaces: o.listed(joined), FormerNames: o.join.FormerNames,
	}
}

// listed are the namespaces that the cluster's policy lets copies into: those that kcp does, unless
// the flags say otherwise.
func (o *joinOptions) listed(joined install.Joined) []string {
	if !o.admissionPolicy || o.policyNamespaces != nil {
		return o.policyNamespaces
	}
	return joined.AllowedNamespaces
}

// runJoin joins, and prints the manifest.
func runJoin(ctx context.Context, options *joinOptions) error {
	join, err := options.joinOptions()
	if err != nil {
		return err
	}
	joined, err := install.Join(ctx, join)
	if err != nil {
		return err
	}
	syncer := options.bootstrapOptions(joined)
	if !options.join.NoToken {
		if syncer.Kubeconfig, err = joined.Kubeconfig(); err != nil {
			return err
		}
	}
	manifest, err := bootstrap.Manifest(syncer)
	if err != nil {
		return fmt.Errorf("the manifest of cluster %s: %w", options.cluster, err)
	}
	if err := options.write(manifest); err != nil {
		return err
	}
	options.sayJoined(joined)
	return nil
}

// joinOptions returns what the install package takes. What is done is told where the
// manifest is not.
func (o *joinOptions) joinOptions() (install.JoinOptions, error) {
	installation, err := o.installOptions()
	if err != nil {
		return install.JoinOptions{}, err
	}
	suffix := ""
	if o.join.DryRun {
		suffix = " (dry run)"
	}
	installation.OnApplied = func(result install.Result) { fmt.Fprintln(o.progress, result.String()+suffix) }
	join := o.join
	join.Options, join.Cluster = installation, o.cluster
	if o.caFile == "" {
		return join, nil
	}
	if join.CAData, err = os.ReadFile(o.caFile); err != nil {
		return install.JoinOptions{}, fmt.Errorf("--ca-file: %w", err)
	}
	if len(join.CAData) == 0 {
		return install.JoinOptions{}, fmt.Errorf("--ca-file: %s is empty", o.caFile)
	}
	return join, nil
}

// write writes the manifest to where the flags say. It holds a credential.
func (o *joinOptions) write(manifest []byte) error {
	if o.outputFile == "" {
		_, err := forPrograms(o.out).Write(manifest)
		return err
	}
	return writeSecret(o.outputFile, manifest)
}

// writeSecret writes a file that nobody else may read, not even where there was one that
// others could.
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

// sayJoined says what has been done, what is to be watched out for, and what to do.
func (o *joinOptions) sayJoined(joined install.Joined) {
	file := o.outputFile
	if file == "" {
		file = "FILE"
	}
	if isLoopback(joined.Server) {
		fmt.Fprintf(o.progress, "warning: %s is an address of this machine: no cluster elsewhere reaches kcp there; --kcp-server says where it does\n", joined.Server)
	}
	if o.join.DryRun {
		fmt.Fprintf(o.progress, "nothing has been made in kcp, and the manifest holds no token: it is for looking at\n")
		return
	}
	validity := fmt.Sprintf("its token ends at %s, unless its syncer has renewed it by then", joined.Expires.UTC().Format(time.RFC3339))
	if o.join.NoToken {
		validity = "its syncer keeps the token that it has"
	}
	fmt.Fprintf(o.progress, "cluster %s is joined; %s: apply the manifest with `kubectl --context %s apply -f %s`\n", o.cluster, validity, o.cluster, file)
	if joined.IsAgain && !o.join.NoToken {
		fmt.Fprintln(o.progress, o.earlier())
	}
	fmt.Fprintln(o.progress, o.sees(joined))
	if len(joined.Former) > 0 {
		fmt.Fprintf(o.progress, "its syncer runs with APIExport %s yet, and its account may use that as well: once it runs with this manifest, take that away with `kubectl tmc init`\n",
			strings.Join(joined.Former, " and "))
	}
}

// earlier says what has become of the tokens that the cluster had before.
func (o *joinOptions) earlier() string {
	if o.join.Revoke {
		return "its earlier tokens are refused from now on: its syncer touches nothing until the manifest is applied"
	}
	return fmt.Sprintf("its earlier tokens stay valid until they end, and whoever has one may renew it: if one may have been stolen, end all of them with `kubectl tmc join %s --revoke`", o.cluster)
}

// sees says what the cluster can see, and what follows from that.
func (o *joinOptions) sees(joined install.Joined) string {
	if o.join.Shared {
		return "warning: it is shared: with its credential, every object of all bound workspaces can be read, every Secret included, also of what is placed elsewhere; join it without --shared to isolate it"
	}
	what := "what is placed on it, and nothing else"
	if o.join.Group != "" {
		what = "what is placed on the clusters of group " + o.join.Group + ", and nothing else"
	}
	return fmt.Sprintf("it sees %s, in workspaces that have APIExport %s bound: run `kubectl tmc bind` in those that are not of the type %s:%s",
		what, joined.Export, o.providerWorkspace, v1alpha1.TenantWorkspaceType)
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
