//! The embedded page: compressed once, told apart by its content.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::gzip;

/// The page's files by their paths, as the build made them.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// A file, ready to be sent.
#[derive(Debug)]
struct Asset {
    content_type: &'static str,
    plain: Bytes,
    /// When that is smaller.
    gzip: Option<Bytes>,
    tag: String,
}

/// The page, at `/` and at the paths of its files. Anything else is not found.
pub(crate) fn page() -> Router {
    let assets: HashMap<&str, Arc<Asset>> =
        FILES.iter().map(|(path, content)| (*path, Arc::new(Asset::new(path, content)))).collect();
    let mut router = Router::new();
    for (path, asset) in assets {
        // A brace in the name of a file would be a variable part of the path.
        if path.contains(['{', '}']) {
            continue;
        }
        let paths: &[&str] = if path == "/index.html" { &["/", "/index.html"] } else { &[path] };
        for path in paths {
            let asset = Arc::clone(&asset);
            router = router.route(path, get(move |headers: HeaderMap| async move { asset.answer(&headers) }));
        }
    }
    router
}

impl Asset {
    fn new(path: &str, content: &'static [u8]) -> Self {
        let content_type = content_type(path);
        let gzip = compressed(content).filter(|gzip| gzip.len() < content.len());
        let tag = Sha256::digest(content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { content_type, plain: Bytes::from_static(content), gzip, tag }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let (body, encoding, tag) = match &self.gzip {
            // Other bytes, so another tag: that is what makes it a strong one.
            Some(gzip) if gzip::is_taken(asked) => (gzip, Some("gzip"), format!("\"{}-gzip\"", self.tag)),
            _ => (&self.plain, None, format!("\"{}\"", self.tag)),
        };
        let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known = known.flat_map(|value| value.split(',')).map(str::trim);
        let unchanged = known.map(|known| known.strip_prefix("W/").unwrap_or(known)).any(|known| known == tag);
        let mut response = if unchanged {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = body.clone().into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
            if let Some(encoding) = encoding {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            }
            response
        };
        let headers = response.headers_mut();
        // Kept, and asked about each time: a new version of the program is a new page at once.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::VARY, HeaderValue::from_name(HeaderName::from_static("accept-encoding")));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

fn compressed(content: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).ok()?;
    Some(encoder.finish().ok()?.into())
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("ico") => "image/x-icon",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("txt") => "text/plain; charset=utf-8",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use std::io::Read;
    use tower::ServiceExt;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = page().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn the_page_is_sent_whole_compressed_or_not_at_all() {
        let (status, headers, plain) = ask("/", &[]).await;
        assert_eq!(
            (status, &headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
        );
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
        let (_, zipped_headers, zipped) = ask("/", &[("accept-encoding", "br, gzip;q=0.5")]).await;
        assert_eq!(zipped_headers[header::CONTENT_ENCODING], "gzip");
        let mut unzipped = Vec::new();
        flate2::read::GzDecoder::new(&*zipped).read_to_end(&mut unzipped).unwrap();
        assert_eq!(unzipped, plain);
        let tag = headers[header::ETAG].to_str().unwrap();
        assert_ne!(zipped_headers[header::ETAG], tag, "other bytes, another tag");
        let (status, _, nothing) = ask("/index.html", &[("if-none-match", &format!("\"x\", W/{tag}"))]).await;
        assert_eq!((status, nothing.len()), (StatusCode::NOT_MODIFIED, 0));
    }

    #[tokio::test]
    async fn gzip_that_is_refused_is_not_sent_and_unknown_paths_are_not_found() {
        let (_, headers, _) = ask("/", &[("accept-encoding", "gzip;q=0")]).await;
        assert!(!headers.contains_key(header::CONTENT_ENCODING));
        for path in ["/nothing", "/../Cargo.toml", "/index.html/", "//"] {
            assert_eq!(ask(path, &[]).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
