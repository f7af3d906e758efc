# Where Cargo has the source of grpcio-sys; scripts read this.

# grpcio_sys prints its directory. CARGO is the Cargo that is asked.
grpcio_sys() {
  "${CARGO:-cargo}" metadata --locked --format-version=1 | python3 -c 'import json, os, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "grpcio-sys":
        print(os.path.dirname(package["manifest_path"]))'
}
