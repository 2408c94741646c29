//! A picture of each library's public items, in `xtask/api/`, compared by `cargo xtask ci`.
//!
//! It is read from the source by [`syn`], so it needs no nightly rustdoc, and is exact enough to make
//! every change of an interface visible in review: items that are `pub` and their signatures, without
//! bodies, private fields and documentation. `unreachable_pub` is denied in the workspace, so what is
//! `pub` in a private module is exported.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Visibility};

use crate::tidy::KERNEL_CRATES;
use crate::workspace::Workspace;

/// Compares the pictures with the source, or writes them anew.
///
/// # Errors
///
/// A picture differs: the error says which, and what to do.
pub(crate) fn check(workspace: &Workspace, bless: bool) -> Result<()> {
    let pictures = workspace.root.join("xtask/api");
    let mut stale = Vec::new();
    for name in KERNEL_CRATES.into_iter().chain(["engine"]) {
        let root = workspace.root.join("crates").join(name).join("src/lib.rs");
        if !root.is_file() {
            continue;
        }
        let now = picture(&root).with_context(|| format!("the interface of {name}"))?;
        let file = pictures.join(format!("{name}.txt"));
        if bless {
            fs::create_dir_all(&pictures).with_context(|| format!("mkdir({pictures:?})"))?;
            fs::write(&file, now).with_context(|| format!("write {file:?}"))?;
            continue;
        }
        let before = fs::read_to_string(&file).unwrap_or_default();
        if before != now {
            stale.push(format!("{name}:\n{}", difference(&before, &now)));
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "public interfaces changed; if that is meant, `cargo xtask api --bless`, commit xtask/api/, \
         and say it in the crate's CHANGELOG.md\n{}",
        stale.join("\n")
    )
}

/// The public items of a crate, module by module.
fn picture(root: &Path) -> Result<String> {
    let mut text = String::new();
    let directory = root.parent().context("a file has a directory")?;
    module("crate", root, directory, &mut text)?;
    Ok(text)
}

fn module(name: &str, file: &Path, children: &Path, text: &mut String) -> Result<()> {
    let source = fs::read_to_string(file).with_context(|| format!("read {file:?}"))?;
    let parsed = syn::parse_file(&source).with_context(|| format!("parse {file:?}"))?;
    let mut nested = Vec::new();
    items(name, parsed.items, children, &mut nested, text);
    nested.into_iter().try_for_each(|Nested { name, stem }| {
        let flat = stem.with_extension("rs");
        let file = if flat.is_file() {
            flat
        } else {
            stem.join("mod.rs")
        };
        module(&name, &file, &stem, text)
    })
}

/// A module in a file of its own.
struct Nested {
    name: String,
    stem: PathBuf,
}

fn items(name: &str, all: Vec<Item>, children: &Path, nested: &mut Vec<Nested>, text: &mut String) {
    let mut public = Vec::new();
    for mut item in all {
        if attributes_mut(&mut item).is_some_and(|attributes| attributes.iter().any(is_test)) {
            continue;
        }
        match item {
            Item::Mod(module) => {
                let path = format!("{name}::{}", module.ident);
                let stem = children.join(module.ident.to_string());
                match module.content {
                    Some((_, inner)) => items(&path, inner, &stem, nested, text),
                    None => nested.push(Nested { name: path, stem }),
                }
            }
            item => public.extend(bare(item)),
        }
    }
    if public.is_empty() {
        return;
    }
    let file = syn::File {
        shebang: None,
        frontmatter: None,
        attrs: Vec::new(),
        items: public,
    };
    text.push_str(&format!("// {name}\n{}\n", prettyplease::unparse(&file)));
}

/// The public face of an item; `None` when it has none.
fn bare(mut item: Item) -> Option<Item> {
    let public = |visibility: &Visibility| matches!(visibility, Visibility::Public(_));
    match &mut item {
        Item::Fn(f) if public(&f.vis) => *f.block = syn::parse_quote!({}),
        Item::Struct(s) if public(&s.vis) => strip_fields(&mut s.fields),
        Item::Enum(e) if public(&e.vis) => {
            for variant in &mut e.variants {
                variant.attrs.retain(counts);
                variant
                    .fields
                    .iter_mut()
                    .for_each(|field| field.attrs.retain(counts));
            }
        }
        Item::Const(c) if public(&c.vis) => *c.expr = syn::parse_quote!(_),
        Item::Trait(t) if public(&t.vis) => {
            for item in &mut t.items {
                if let TraitItem::Fn(f) = item {
                    f.attrs.retain(counts);
                    f.default = f.default.as_ref().map(|_| syn::parse_quote!({}));
                }
            }
        }
        Item::Type(t) if public(&t.vis) => {}
        Item::Use(u) if public(&u.vis) => {}
        Item::Impl(i) => {
            let of_trait = i.trait_.is_some();
            i.items.retain_mut(|item| match item {
                ImplItem::Fn(f) if public(&f.vis) => {
                    f.attrs.retain(counts);
                    f.block = syn::parse_quote!({});
                    true
                }
                ImplItem::Const(c) if public(&c.vis) => {
                    c.attrs.retain(counts);
                    c.expr = syn::parse_quote!(_);
                    true
                }
                _ => false,
            });
            if i.items.is_empty() && !of_trait {
                return None;
            }
        }
        // bitflags! and its like hold items that only the macro understands.
        Item::Macro(m)
            if m.mac
                .path
                .segments
                .last()
                .is_some_and(|s| s.ident == "bitflags") =>
        {
            m.mac.tokens = undocumented(std::mem::take(&mut m.mac.tokens));
        }
        _ => return None,
    }
    if let Some(attributes) = attributes_mut(&mut item) {
        attributes.retain(counts);
    }
    Some(item)
}

/// Takes `#[doc = "…"]`, which is what `///` becomes, out of tokens that are no syntax tree.
fn undocumented(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let is_doc = matches!(
                    group.stream().into_iter().next(),
                    Some(TokenTree::Ident(word)) if word == "doc"
                );
                let after_hash =
                    matches!(kept.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == '#');
                if is_doc && after_hash && group.delimiter() == Delimiter::Bracket {
                    kept.pop();
                } else {
                    let inner = undocumented(group.stream());
                    kept.push(Group::new(group.delimiter(), inner).into());
                }
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}

fn strip_fields(fields: &mut Fields) {
    match fields {
        Fields::Named(named) => {
            let kept = std::mem::take(&mut named.named);
            named.named = kept
                .into_iter()
                .filter(|field| matches!(field.vis, Visibility::Public(_)))
                .map(|mut field| {
                    field.attrs.retain(counts);
                    field
                })
                .collect();
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                field.attrs.retain(counts);
                if !matches!(field.vis, Visibility::Public(_)) {
                    field.ty = syn::parse_quote!(_);
                }
            }
        }
        Fields::Unit => {}
    }
}

/// What a caller can notice.
fn counts(attribute: &Attribute) -> bool {
    ["derive", "non_exhaustive", "must_use", "repr", "deprecated"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

fn is_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Ident>()
            .is_ok_and(|word| word == "test")
}

fn attributes_mut(item: &mut Item) -> Option<&mut Vec<Attribute>> {
    Some(match item {
        Item::Const(i) => &mut i.attrs,
        Item::Enum(i) => &mut i.attrs,
        Item::Fn(i) => &mut i.attrs,
        Item::Impl(i) => &mut i.attrs,
        Item::Macro(i) => &mut i.attrs,
        Item::Mod(i) => &mut i.attrs,
        Item::Struct(i) => &mut i.attrs,
        Item::Trait(i) => &mut i.attrs,
        Item::Type(i) => &mut i.attrs,
        Item::Use(i) => &mut i.attrs,
        _ => return None,
    })
}

/// Lines that are only in one of the texts; order does not matter to a reader who looks for a change.
fn difference(before: &str, now: &str) -> String {
    let only = |these: &str, those: &str, sign: char| -> Vec<String> {
        let missing = these
            .lines()
            .filter(|line| !those.lines().any(|other| other == *line));
        missing.map(|line| format!("  {sign} {line}")).collect()
    };
    [only(before, now, '-'), only(now, before, '+')]
        .concat()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture_of(source: &str) -> String {
        let mut text = String::new();
        let parsed = syn::parse_file(source).expect("the test's source parses");
        items(
            "crate",
            parsed.items,
            Path::new("."),
            &mut Vec::new(),
            &mut text,
        );
        text
    }

    #[test]
    fn only_what_a_caller_can_notice_is_in_the_picture() {
        let text = picture_of(
            "/// Words.\n#[derive(Debug)] #[inline] pub struct S { /// w\n pub a: u8, b: u8 }\n\
             impl S { /// Words.\n pub fn f(&self) -> u8 { self.b } fn g() {} }\n\
             impl Drop for S { fn drop(&mut self) {} }\n\
             fn private() {}\n pub(crate) fn near() {}\n\
             #[cfg(test)] mod tests { pub fn t() {} }",
        );
        assert_eq!(
            text,
            "// crate\n#[derive(Debug)]\npub struct S {\n    pub a: u8,\n}\nimpl S {\n    \
             pub fn f(&self) -> u8 {}\n}\nimpl Drop for S {}\n\n"
        );
    }

    #[test]
    fn a_changed_signature_shows_as_two_lines() {
        let before = picture_of("pub fn f(a: u8) {}");
        let now = picture_of("pub fn f(a: u16) {}");
        assert_eq!(
            difference(&before, &now),
            "  - pub fn f(a: u8) {}\n  + pub fn f(a: u16) {}"
        );
    }
}
