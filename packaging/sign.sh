# Signatures, by the key of gpg's that SIGN_KEY names, if it names one; scripts read this.

# Refuses a key that cannot sign, before hours of work that end with a signature.
must_be_able_to_sign() {
  [ -n "${SIGN_KEY:-}" ] || return 0
  command -v gpg >/dev/null || {
    echo 'error: SIGN_KEY is given, and there is no gpg; install gnupg' >&2
    exit 1
  }
  local said
  said=$(gpg --batch --local-user "$SIGN_KEY" --detach-sign </dev/null 2>&1 >/dev/null) || {
    echo "error: gpg cannot sign by SIGN_KEY=$SIGN_KEY: $(tail -1 <<<"$said");" \
      "see: gpg --list-secret-keys" >&2
    exit 1
  }
}

# sign FILE makes FILE.asc, if there is a key.
sign() {
  [ -n "${SIGN_KEY:-}" ] || return 0
  gpg --batch --yes --local-user "$SIGN_KEY" --armor --detach-sign "$1"
  gpg --batch --verify "$1.asc" "$1"
}
