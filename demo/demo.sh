#!/bin/bash
# Build and install the packages, run the demonstration, and put the machine back as it was.
# "make demo" installs what this needs.
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

cleanup() {
    if ((${#added[@]})); then
        say "Removing the packages again"
        apt-get -qq purge --yes "${added[@]}" </dev/null >"$log" 2>&1 || { cat "$log"; exit 1; }
    fi
    if [[ -d /run/systemd/system ]] && ((masked)); then
        systemctl --quiet --runtime unmask bmx7-wg.service
    fi
    rm -f "$log" "$source" /var/lib/apt/lists/"${repo//\//_}"_*
}

log=$(mktemp)
repo=$PWD/build/repo
source=/etc/apt/sources.list.d/bmx7-wg-demo.sources
added=()
masked=0
trap cleanup EXIT

say "Building the packages"
DEB_BUILD_OPTIONS="nocheck ${DEB_BUILD_OPTIONS:-}" make --silent repo >"$log" 2>&1 \
    || { cat "$log"; exit 1; }
ls "$repo"

say "Installing them from the repository: apt install bmx7-wg bmx7-wg-lab"
cp "$repo/bmx7-wg.sources" "$source"
apt=(apt-get -qq -o APT::Sandbox::User=root) # _apt may not read where this tree is
"${apt[@]}" update -o Dir::Etc::sourcelist="$source" -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
for package in bmx7-wg bmx7-wg-lab; do
    installed "$package" || added+=("$package")
done
# The demonstration's nodes live in namespaces. The machine itself joins no mesh by it.
if [[ -d /run/systemd/system ]] && ! installed bmx7-wg; then
    systemctl --quiet --runtime mask bmx7-wg.service
    masked=1
fi
"${apt[@]}" install --no-install-recommends --reinstall --allow-downgrades \
    bmx7-wg bmx7-wg-lab </dev/null >"$log" 2>&1 \
    || { cat "$log"; exit 1; }

say "Running the demonstration: bmx7-wg-lab demo"
cd /
bmx7-wg-lab demo
