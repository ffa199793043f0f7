//! Replaces a file whole while another process may read it: `replace PATH TEXT`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("usage: replace PATH TEXT".into());
    };
    let path = std::path::Path::new(&path);
    btc_files::create_dirs(btc_files::parent(path))?;
    btc_files::replace(path, text.as_bytes())?;
    Ok(())
}
