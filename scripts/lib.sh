# Sourced by the scripts here: where things are, what to say, and how packages are installed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# install_packages KIND...: what scripts/packages.txt lists under these kinds and is not installed yet.
install_packages() {
  local kind package missing=()
  while read -r kind package; do
    case " $* " in *" $kind "*) ;; *) continue ;; esac
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
  done < <(grep -v '^#' "$root/scripts/packages.txt")
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  command -v apt-get >/dev/null || die "this script installs Debian packages and needs apt-get"
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "installing packages needs root or sudo"
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# build PRESET [TARGET...]
build() {
  local preset=$1
  shift
  say "building preset $preset into build/$preset (a minute or two the first time)"
  (cd "$root" && cmake --preset "$preset" >/dev/null && cmake --build --preset "$preset" ${1:+--target "$@"} -- --quiet)
}
