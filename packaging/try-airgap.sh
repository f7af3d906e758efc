#!/usr/bin/env bash
# Uses the bundle in dist/ as docs/airgap.md says, on this machine and without touching
# it: checks the sums, copies the image into a registry on loopback, imports it into a
# containerd of its own and runs it there, has that containerd pull upstream's name from
# the registry as a mirror, and builds the source archive with the network off.
# `make try-airgap` calls this.
#
#   packaging/try-airgap.sh ARCH ...
#
# QUICK=1 leaves out gRPC's C-core of that build, which compiles for some minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/architectures.sh
. packaging/source.sh

quick=${QUICK:-}
refuse() { echo "error: $*" >&2; exit 1; }
bundle=$PWD/dist/csi-livenessprobe-$version-airgap.tar
[ -f "$bundle" ] || refuse "there is no $bundle; run: make airgap"
[ "$(id -u)" = 0 ] || refuse 'containerd needs root; run: sudo make try-airgap'
packaging/tools.sh try-airgap
registry=$(packaging/unpack.sh docker-registry docker-registry)
containerd=$(packaging/unpack.sh containerd containerd)
ctr=$(packaging/unpack.sh containerd ctr)
# containerd looks for it on PATH.
shim=$(packaging/unpack.sh containerd containerd-shim-runc-v2)
export PATH=$PATH:${shim%/*}

work=$(mktemp -d)
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# begin LOG WORDS COMMAND ... starts one that goes on, and returns when it has said WORDS.
begin() {
  local log=$1 words=$2
  shift 2
  : >"$log"
  "$@" >"$log" 2>&1 &
  started+=($!)
  # grep has read enough, and tail is told so by a signal.
  (set +o pipefail; timeout 60 tail --follow --lines=+1 --pid=$! "$log" | grep --quiet "$words") ||
    { cat "$log" >&2; refuse "$1 did not say '$words'"; }
}

echo '== the sums'
tar --extract --file "$bundle" --directory "$work"
cd "$work/csi-livenessprobe-$version-airgap"
sha256sum --check --quiet SHA256SUMS
# Of every file, but for the sums' own.
diff <(find . -type f ! -name 'SHA256SUMS*' -printf '%P\n' | LC_ALL=C sort) <(sed 's/^[^ ]*  //' SHA256SUMS)
[ ! -f SHA256SUMS.asc ] || gpg --verify SHA256SUMS.asc SHA256SUMS
archive=livenessprobe-$version.oci.tar
digest=$(tar --extract --to-stdout --file "$archive" index.json |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["manifests"][0]["digest"])')

echo '== skopeo copies it to a registry, by the name that upstream has'
cat >"$work/registry.yml" <<CONFIG
version: 0.1
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:0", secret: none }
CONFIG
begin "$work/registry.log" 'listening on' "$registry" serve "$work/registry.yml"
address=$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$work/registry.log" | head -1)
name=$address/sig-storage/livenessprobe:v2.19.0
skopeo copy --quiet --all --dest-tls-verify=false "oci-archive:$archive" "docker://$name"
found=$(skopeo inspect --raw --tls-verify=false "docker://$name" | sha256sum | cut -d' ' -f1)
[ "sha256:$found" = "$digest" ] || refuse "the registry has sha256:$found, the archive $digest"
echo "$digest, the same as in the archive"

echo '== containerd imports it, and runs it'
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
begin "$work/containerd.log" 'containerd successfully booted' "$containerd" --config "$work/containerd.toml"
ctr=("$ctr" --address "$work/containerd.sock" --namespace k8s.io)
"${ctr[@]}" images import --all-platforms --snapshotter native "$archive"
whole=docker.io/library/csi-livenessprobe:$version
"${ctr[@]}" images list "name==$whole" | tee "$work/images"
for arch in "$@"; do
  architecture "$arch"
  grep --quiet --word-regexp "$platform" "$work/images" || refuse "containerd has no $platform of $whole"
done
grep --quiet "$digest" "$work/images" || refuse "containerd has another digest than $digest"
said=$("${ctr[@]}" run --rm --snapshotter native "$whole" imported /livenessprobe --version)
echo "$said"
[[ $said == "livenessprobe $version ("* ]] || refuse 'that is not its version'

echo "== containerd pulls upstream's name from that registry"
mkdir -p "$work/hosts/registry.k8s.io"
cat >"$work/hosts/registry.k8s.io/hosts.toml" <<CONFIG
server = "https://registry.k8s.io"
[host."http://$address"]
  capabilities = ["pull", "resolve"]
CONFIG
upstream=registry.k8s.io/sig-storage/livenessprobe:v2.19.0
"${ctr[@]}" images pull --hosts-dir "$work/hosts" --snapshotter native "$upstream" >"$work/pull.log" ||
  { cat "$work/pull.log" >&2; refuse "cannot pull $upstream from the mirror"; }
"${ctr[@]}" images list "name==$upstream" >"$work/images"
grep --quiet "$digest" "$work/images" ||
  refuse "$upstream is not what is in the mirror"
said=$("${ctr[@]}" run --rm --snapshotter native "$upstream" pulled /livenessprobe --version)
echo "$said"
[[ $said == "livenessprobe $version ("* ]] || refuse 'that is not its version'

echo '== the source archive, with the network off'
tar --extract --xz --file "csi-livenessprobe-$version-source.tar.xz" --directory "$work"
cd "$work/csi-livenessprobe-$version"
# No store of packages, and no way to one.
off() { unshare --net env CARGO_HOME="$work/cargo" OFFLINE=1 CARGO_NET_OFFLINE=true "$@"; }
! off timeout 10 bash -c 'exec 3<>/dev/tcp/1.1.1.1/443' 2>/dev/null || refuse 'the network is not off'
if [ -n "$quick" ]; then
  off cargo check --release --locked -p protobuf -p prometheus -p tiny_http -p env_logger@0.11 \
    -p pico-args -p socket2 -p signal-hook
  off cargo tree --locked --edges all >/dev/null
else
  off make build OFFLINE=1
  said=$(target/release/livenessprobe --version)
  echo "$said"
  [ "$said" = "livenessprobe $version (${REVISION:0:12})" ] || refuse 'that is not of this commit'
fi
echo 'all of it worked'
