//! The report as people see it: on a screen, on a phone, on paper. `./test` installs the browser.

use std::path::Path;
use std::process::Command;

use chrono::TimeDelta;

use crate::a_morning;
use crate::clone::Clone;

/// An image, as red, green and blue of each pixel.
struct Picture {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    fn read(path: &Path) -> Self {
        let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let samples = info.color_type.samples();
        let pixels = bytes[..info.buffer_size()].chunks(samples).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
        Self { width: info.width as usize, pixels }
    }

    fn count(&self, colour: [u8; 3]) -> usize {
        self.pixels.iter().filter(|pixel| **pixel == colour).count()
    }

    /// Whether a column of pixels is empty.
    fn is_white(&self, column: usize) -> bool {
        self.pixels.iter().skip(column).step_by(self.width).all(|pixel| *pixel == [255; 3])
    }
}

/// Chromium without a window.
fn chromium(home: &Path, arguments: &[String]) {
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"])
        .args(["--disable-dev-shm-usage", "--force-color-profile=srgb"])
        .arg(format!("--user-data-dir={}", home.join("browser").display()))
        .args(arguments)
        .env("HOME", home)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "needs Chromium; ./test runs it"]
async fn the_report_is_readable_in_a_browser_on_a_phone_and_on_paper() {
    let world = a_morning().await;
    let glass = "role: prod-break-glass\nduration: 30m\nreason: Checkouts hang, nobody is awake\nbreak_glass: true\n";
    world.alice().asks("alice-glass", glass).await;
    world.wait(TimeDelta::minutes(2)).await;
    let clone = Clone::of(&world, &[]);
    let dir = tempfile::tempdir().unwrap();
    // Kept where it can be looked at, if somebody says where.
    let at = std::env::var_os("DAYPASS_SCREENSHOTS").map_or_else(|| dir.path().to_owned(), std::path::PathBuf::from);
    let page = at.join("report.html");
    let (code, _, complaint) = clone.audit(&["report", "--control", "soc2", "--output", page.to_str().unwrap()]);
    assert_eq!(code, 0, "{complaint}");
    let address = format!("file://{}", page.display());
    let shot = |name: &str, width: u32, height: u32| {
        let path = at.join(name);
        let arguments =
            [format!("--screenshot={}", path.display()), format!("--window-size={width},{height}"), address.clone()];
        chromium(dir.path(), &arguments);
        Picture::read(&path)
    };
    let screen = shot("screen.png", 1_100, 3_600);
    assert_eq!(screen.width, 1_100);
    assert!(screen.count([0x4a, 0x7b, 0xb5]) > 2_000, "the plots are drawn");
    assert!(screen.count([0xc2, 0x50, 0x3f]) > 100, "the emergency is red");
    let text = screen.pixels.iter().filter(|pixel| pixel.iter().all(|part| *part < 0x60)).count();
    assert!(text > 10_000, "there is text: {text}");
    let phone = shot("phone.png", 500, 5_000);
    assert!((490..500).all(|column| phone.is_white(column)), "nothing runs out of a narrow window");

    let pdf = at.join("report.pdf");
    chromium(
        dir.path(),
        &[format!("--print-to-pdf={}", pdf.display()), "--no-pdf-header-footer".to_owned(), address.clone()],
    );
    let tell = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let path = pdf.to_str().unwrap();
    assert!(tell("pdfinfo", &[path]).contains("A4"), "{}", tell("pdfinfo", &[path]));
    let text = tell("pdftotext", &["-layout", path, "-"]);
    for part in
        ["Access by Daypass", "Time to approval", "CC6.3", "Not in the record", "alice-orders#1", "alice-glass#"]
    {
        assert!(text.contains(part), "{part} is not on paper: {text}");
    }
}
