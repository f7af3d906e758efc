#!/usr/bin/env bash
# Uses the bundle in dist/ as docs/airgap.md says, on this machine and without changing it:
# checks the sums, copies each image into a registry on loopback, imports it into a containerd
# of its own and runs it there, has that containerd pull upstream's name from the registry as a
# mirror, and builds the source archive with the network off. `make try-airgap` calls this.
#
# QUICK=1 leaves out gRPC's C-core of that build, which compiles for some minutes.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

selected_programs
source_identity
bundle=$PWD/dist/csi-livenessprobe-$version-airgap.tar
[ -f "$bundle" ] || refuse "there is no $bundle; run: make airgap"
[ "$(id -u)" = 0 ] || refuse 'containerd needs root; run: sudo make try-airgap'
packaging/tools.sh try-airgap
unpack docker-registry docker-registry
# Its ctr and its shim are beside it.
unpack containerd containerd

work=$(mktemp -d)
started=()
trap 'kill "${started[@]}" || true; wait; rm -rf "$work"' EXIT

# begin LOG WORDS COMMAND ... starts a server, and returns when its log has WORDS.
begin() {
  local log=$1 words=$2
  shift 2
  : >"$log"
  "$@" >"$log" 2>&1 &
  started+=($!)
  # When grep has read enough, a signal ends tail.
  (set +o pipefail; timeout 60 tail --follow --lines=+1 --pid=$! "$log" | grep --quiet "$words") ||
    { cat "$log" >&2; refuse "$1 did not say '$words'"; }
}

echo '== the sums'
tar --extract --file "$bundle" --directory "$work"
cd "$work/csi-livenessprobe-$version-airgap"
sha256sum --check --quiet SHA256SUMS
[ ! -f SHA256SUMS.asc ] || gpg --verify SHA256SUMS.asc SHA256SUMS

cat >"$work/registry.yml" <<CONFIG
version: 0.1
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:0", secret: none }
CONFIG
begin "$work/registry.log" 'listening on' docker-registry serve "$work/registry.yml"
address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$work/registry.log" | head -1)
mkdir -p "$work/hosts/registry.k8s.io"
cat >"$work/hosts/registry.k8s.io/hosts.toml" <<CONFIG
server = "https://registry.k8s.io"
[host."http://$address"]
  capabilities = ["pull", "resolve"]
CONFIG
cat >"$work/containerd.toml" <<CONFIG
version = 2
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$work/containerd.sock"
[ttrpc]
  address = "$work/containerd.sock.ttrpc"
CONFIG
begin "$work/containerd.log" 'containerd successfully booted' containerd --config "$work/containerd.toml"
ctr=(ctr --address "$work/containerd.sock" --namespace k8s.io)

# runs IMAGE compares the digest of an image that containerd has, runs its program, and compares
# its version.
runs() {
  local said
  "${ctr[@]}" images list "name==$1" | tee "$work/images"
  grep --quiet "$digest" "$work/images" || refuse "$1 is not $digest, as in the archive"
  said=$("${ctr[@]}" run --rm --snapshotter native "$1" "run-$name-$RANDOM" "/$name" --version)
  echo "$said"
  [[ $said == "$name $version ("* ]] || refuse "that is not version $version of $name"
}

for name in "${programs[@]}"; do
  program "$name"
  archive=$name-$version.oci.tar
  digest=$(tar --extract --to-stdout --file "$archive" index.json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["manifests"][0]["digest"])')

  echo "== skopeo copies $archive to a registry, by the name that upstream has"
  mirrored=sig-storage/$name:v2.19.0
  skopeo copy --quiet --all --dest-tls-verify=false "oci-archive:$archive" "docker://$address/$mirrored"

  echo '== containerd imports it, and runs it'
  "${ctr[@]}" images import --all-platforms --snapshotter native "$archive"
  runs "docker.io/library/$package:$version"

  echo "== containerd pulls upstream's name from that registry"
  "${ctr[@]}" images pull --hosts-dir "$work/hosts" --snapshotter native \
    "registry.k8s.io/$mirrored" >"$work/pull.log" ||
    { cat "$work/pull.log" >&2; refuse "cannot pull registry.k8s.io/$mirrored from the mirror"; }
  runs "registry.k8s.io/$mirrored"
done

echo '== the source archive, with the network off'
tar --extract --xz --file "csi-livenessprobe-$version-source.tar.xz" --directory "$work"
cd "$work/csi-livenessprobe-$version"
# No store of packages, and no way to one.
off() { unshare --net env CARGO_HOME="$work/cargo" OFFLINE=1 CARGO_NET_OFFLINE=true "$@"; }
if [ -n "${QUICK:-}" ]; then
  off cargo check --release --locked -p protobuf -p prometheus -p tiny_http -p env_logger@0.11 \
    -p pico-args -p socket2 -p signal-hook
  off cargo tree --locked --edges all >/dev/null
else
  off make build OFFLINE=1
  for name in "${programs[@]}"; do
    said=$("target/release/$name" --version)
    echo "$said"
    [ "$said" = "$name $version (${REVISION:0:12})" ] || refuse 'that is not of this commit'
  done
fi
echo 'all of it worked'
