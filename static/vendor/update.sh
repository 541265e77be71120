#!/usr/bin/env bash
# Re-creates the vendored browser libraries from npm: pinned versions, no install scripts, bare imports rewritten to
# ./x.mjs so that the browser needs no import map (which the content security policy would refuse as inline script).
# Writes the files, LICENSES.txt and VENDOR.lock next to this script. Needs npm, tar, sed and sha256sum.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# npm package, version, licence, file in the package, name here
libraries='
preact               11.2.0  MIT         dist/preact.mjs          preact.mjs
preact               11.2.0  MIT         hooks/dist/hooks.mjs     hooks.mjs
htm                  3.1.1   Apache-2.0  dist/htm.mjs             htm.mjs
@preact/signals-core 1.14.5  MIT         dist/signals-core.mjs    signals-core.mjs
@preact/signals      2.11.4  MIT         dist/signals.mjs         signals.mjs
marked               18.2.1  MIT         lib/marked.esm.js        marked.mjs
dompurify            3.4.18  Apache-2.0  dist/purify.es.mjs       purify.mjs
'

# The quotes of a static import, either minified (from"x") or not.
rewrite='
s#(from ?)["'\'']preact/hooks["'\'']#\1"./hooks.mjs"#g
s#(from ?)["'\'']preact["'\'']#\1"./preact.mjs"#g
s#(from ?)["'\'']@preact/signals-core["'\'']#\1"./signals-core.mjs"#g
/^\/\/# sourceMappingURL=/d
'

cd "$scratch"
lock=''
licences=''
while read -r package version licence file name; do
    [ -n "$package" ] || continue
    folder=${package//[@\/]/_}
    if [ ! -d "$folder" ]; then
        mkdir "$folder"
        tar -xzf "$(npm pack --silent --ignore-scripts "$package@$version")" -C "$folder" --strip-components=1
        licences+="==== $package $version ($licence) ====

$(cat "$folder"/LICENSE*)

"
    fi
    sed -E "$rewrite" "$folder/$file" > "$here/$name"
    if grep -qE 'from ?["'\''][^./]' "$here/$name"; then
        echo "update.sh: $name still has a bare import" >&2
        exit 1
    fi
    lock+="$package $version $name $(sha256sum "$here/$name" | cut -d' ' -f1) $licence"$'\n'
done <<< "$libraries"
printf '# npm package, version, file, sha256, licence; written by update.sh\n%s' "$lock" > "$here/VENDOR.lock"
printf '%s' "$licences" > "$here/LICENSES.txt"
