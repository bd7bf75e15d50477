#!/usr/bin/env bash
# code-server.sh FOLDER: the VS Code that the tests drive, without the network access of its own install scripts:
# code-server, its VS Code's packages, and the few that are built here.
set -euo pipefail
version=4.100.3 # VS Code 1.100.3; the last whose Node is 20
folder=$1
for program in rg g++ pkg-config; do
  command -v "$program" >/dev/null || { echo "code-server needs $program (on Debian: apt install ripgrep g++ pkg-config)"; exit 1; }
done

npm() { command npm "$@" --no-audit --no-fund --loglevel=error; }
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
echo '{"private": true}' >package.json
npm install --ignore-scripts "code-server@$version"
npm rebuild argon2 &
cd node_modules/code-server/lib/vscode
(cd extensions && npm install --ignore-scripts --omit=dev) &
npm install --ignore-scripts --omit=dev
npm rebuild @vscode/spdlog native-watchdog
npm rebuild node-pty || true # its post-install fails, after the binary is built
[ -f node_modules/node-pty/build/Release/pty.node ]
wait
mkdir -p node_modules/@vscode/ripgrep/bin
ln -sf "$(command -v rg)" node_modules/@vscode/ripgrep/bin/rg
ln -sfn node_modules node_modules.asar
