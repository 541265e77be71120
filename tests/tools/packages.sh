# Debian's packages for ./run and ./check, which source this file.

build_packages=(
    gcc libc6-dev cmake ninja-build pkg-config
    libwebsockets-dev libwebsockets-evlib-ev libjansson-dev libturbojpeg0-dev libpng-dev
    libssl-dev zlib1g-dev libopenblas0-pthread
)

test_packages=(python3 python3-numpy python3-pil clang-format chromium)

# Installs what is missing of the packages named; silent when nothing is.
packages_install() {
    command -v dpkg-query >/dev/null || return 0
    local missing=() package
    for package in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) != installed ]]; then
            missing+=("$package")
        fi
    done
    ((${#missing[@]})) || return 0
    echo "installing: ${missing[*]}" >&2
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Configures (the first time) and builds one preset, or only the targets named after it.
preset_build() {
    local preset=$1
    shift
    [[ -f build/$preset/build.ninja ]] || cmake --preset "$preset" >/dev/null
    cmake --build --preset "$preset" ${1+--target "$@"}
}
