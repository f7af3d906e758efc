# What is released for, and what each is called elsewhere; scripts read this.

# By the names that files have. Files' names are the platforms' without "linux" and "/".
ARCHITECTURES='amd64 arm64 armv7 riscv64'

# architecture NAME sets, for one of these:
#   target    Rust's name
#   platform  OCI's
#   machine   what `uname -m` and qemu call it
#   elf       what readelf calls it
#   page      the largest page of its kernels, in bytes
architecture() {
  case $1 in
    amd64) target=x86_64-unknown-linux-musl platform=linux/amd64
      machine=x86_64 elf=X86-64 page=4096 ;;
    # Raspberry Pi 5: 16 KiB; RHEL once: 64 KiB.
    arm64) target=aarch64-unknown-linux-musl platform=linux/arm64
      machine=aarch64 elf=AArch64 page=65536 ;;
    # A 64-bit kernel runs it, too, with the pages that it has.
    armv7) target=armv7-unknown-linux-musleabihf platform=linux/arm/v7
      machine=arm elf=ARM page=65536 ;;
    riscv64) target=riscv64gc-unknown-linux-musl platform=linux/riscv64
      machine=riscv64 elf=RISC-V page=4096 ;;
    *) echo "error: '$1' is no architecture that is built for; give one of: $ARCHITECTURES" >&2
      return 2 ;;
  esac
}
