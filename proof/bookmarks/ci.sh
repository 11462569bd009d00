# shellcheck shell=bash
# Read by .ci/run, whose functions these use.

# The example goes, and what is left is whole.
eject_in_a_copy() {
  local copy=$scratch/ejected
  fresh_copy "$copy" && cd "$copy" || return
  # With a feature of one's own, which keeps its data where the example did.
  sed -i 's|^    REUSE_PORT: .*|&\n    NOTES: v.optional(v.string(), "data/notes"),|' src/config.ts &&
    sed -i 's|^# REUSE_PORT=.*|&\n\n# NOTES=data/notes|' .env.example &&
    sed -i 's|^ *"REUSE_PORT",|&\n"NOTES",|' deno.json && deno fmt --quiet deno.json &&
    git init --quiet &&
    git add --all && git -c user.name=ci -c user.email=ci@localhost \
      commit --quiet --message "before" || return
  # What git ignores is not ours to change.
  echo "DATABASE_URL=kept # example:line" >.env
  touch untracked
  npm run eject -- --yes && { echo "it went on with a dirty tree"; return 1; }
  rm untracked
  echo n | npm run eject && { echo "it did not take no for an answer"; return 1; }
  [ -z "$(git status --porcelain)" ] || return
  echo y | npm run eject || return
  grep -q DATABASE_URL=kept .env && rm .env || return
  grep -q '^data/$' .gitignore && grep -q '"write": \["data"\]' deno.json || return
  # Not even a mention is left but in the command, which makes other projects;
  # the matrix and the locks know nothing of it.
  ! grep --recursive --ignore-case --exclude-dir=.git --exclude-dir=command --files-with-matches \
    -e bookmark -e 'example:\(line\|begin\|end\)' \
    -e '"postgres":' -e 'from "postgres"' -e 'postgres@[0-9]*\.[0-9]*\.[0-9]*["_]' . || return
  npm ci && bun install --frozen-lockfile && npm run check && npm run build ||
    return
  npm test || return
  PORT=0 starts "$copy" node dist/main.js
}

ejected() (eject_in_a_copy) # in a folder of its own
step "npm run eject, in a copy" ejected
